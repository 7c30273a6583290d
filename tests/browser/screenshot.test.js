// Makes the picture of the README: MAFALDA_SCREENSHOT=1 npm run test:browser. What it shows is
// a conference as it is, with people painted in front of the cameras.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { until } from '../lib/until.js';
import { join, startBrowser } from './support/browser.js';
import { startConference } from './support/conference.js';
import { paintCamera } from './support/painted-camera.js';

const FILE = path.resolve(import.meta.dirname, '../../docs/images/conference.png');
const SIZE = { width: 1280, height: 720 };
const SMALL = { width: 400, height: 400 };
const ROOM = 'design-review';

/** @type {Record<string, import('./support/painted-camera.js').Look>} */
const people = {
  'Ada Lovelace': {
    ...{ wall: ['#55708f', '#2b3d57'], behind: 'window', shirt: '#d8574f' },
    ...{ skin: '#f2c9a8', hair: '#4a2c1d', cut: 'bun' },
  },
  'Alan Turing': {
    ...{ wall: ['#8a6f5a', '#4b3a31'], behind: 'shelf', shirt: '#34495e' },
    ...{ skin: '#eec09d', hair: '#2d2420', cut: 'short', speaks: true },
  },
  'Katherine Johnson': {
    ...{ wall: ['#5d8a7a', '#2c4a45'], behind: 'plant', shirt: '#f0b845' },
    ...{ skin: '#8a5a3c', hair: '#1d1614', cut: 'curly', glasses: true },
  },
  'Mohamed Atalla': {
    ...{ wall: ['#7d6a96', '#3d3357'], behind: 'lamp', shirt: '#e7e2d8' },
    ...{ skin: '#c68d62', hair: '#1f1b1b', cut: 'short', glasses: true },
  },
  'Radia Perlman': {
    ...{ wall: ['#b58a72', '#6d4b43'], behind: 'window', shirt: '#3d7f8f' },
    ...{ skin: '#f4d3ba', hair: '#8a8f98', cut: 'long' },
  },
};

test('a picture of a conference', { skip: !process.env.MAFALDA_SCREENSHOT }, async (t) => {
  const { url } = await startConference(t);
  const browser = await startBrowser(t);
  const joined = [];
  for (const [name, look] of Object.entries(people)) {
    const prepare = (page) => page.addInitScript(paintCamera, look);
    const person = await join(browser, url, { name, room: ROOM, prepare });
    // Only one page is looked at: the others need not decode large pictures for nobody.
    await person.page.setViewportSize(SMALL);
    joined.push(person);
  }
  const grace = await join(browser, url, { name: 'Grace Hopper', room: ROOM });
  await grace.press('Turn camera off');
  await grace.press('Mute microphone');
  await grace.page.setViewportSize(SMALL);
  const [ada] = joined;
  await ada.page.setViewportSize(SIZE);

  await until(
    'all pictures are sharp',
    () =>
      ada.page.evaluate(
        () =>
          [...document.querySelectorAll('.tile.with-video video')].filter(
            (video) => video.videoWidth >= 320,
          ).length === 5,
      ),
    { within: 120_000, every: 500 },
  );
  await ada.page.locator('.toast').waitFor({ state: 'detached' });
  await ada.tile('Alan Turing').locator('.quality[data-bars="3"]').waitFor();
  await ada.page.locator('.tile.active.speaking', { hasText: 'Alan Turing' }).waitFor();
  await ada.tile('Grace Hopper').getByTitle('Microphone is off').waitFor();
  await ada.page.mouse.move(0, 0);
  await ada.page.screenshot({ path: FILE });
  assert.deepEqual(ada.errors, []);
});
