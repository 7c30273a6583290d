// What people do in a conference reaches the others: mute, camera, screen, sizes, leaving.
import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from '../lib/until.js';
import { join, startBrowser } from './support/browser.js';
import { startConference } from './support/conference.js';

const within = 60_000;

test('mute, camera, screen, layers, speaking, quality and leaving', async (t) => {
  const { url } = await startConference(t);
  const browser = await startBrowser(t);
  const ada = await join(browser, url, { name: 'Ada' });
  await ada.page.getByText('You are alone here').waitFor();
  const grace = await join(browser, url, { name: 'Grace' });
  const tile = ada.tile('Grace');
  await ada.seesAndHears();
  await ada.page.getByText('You are alone here').waitFor({ state: 'detached' });

  await t.test('whoever makes a sound is marked as speaking', async () => {
    await ada.page.locator('.tile.speaking', { hasText: 'Grace' }).waitFor();
    await ada.page.locator('.tile.active', { hasText: /Ada|Grace/ }).waitFor();
  });

  await t.test('each tile tells how well it arrives', async () => {
    await tile.getByTitle(/^Connection quality (9|10) of 10$/).waitFor();
    await until(
      'the details name a size and a rate',
      async () => /\d+×\d+ · .*bit\/s/.test((await tile.textContent()) ?? ''),
      { within },
    );
    await ada.page.locator('.path', { hasText: 'UDP' }).waitFor();
  });

  await t.test('a small picture is sent in a small size', async () => {
    const width = async () => (await ada.received()).videoWidth;
    await until('the picture is large', async () => (await width()) >= 640, { within });
    await ada.tile('Ada (you)').hover();
    await ada.tile('Ada (you)').getByRole('button', { name: 'Enlarge' }).click();
    await until('the picture is small', async () => (await width()) <= 320, { within });
    await ada.tile('Ada (you)').getByRole('button', { name: 'Back to all' }).click();
    await until('the picture is large again', async () => (await width()) >= 640, { within });
  });

  await t.test('a muted microphone is shown and silent', async () => {
    await grace.press('Mute microphone');
    await tile.getByTitle('Microphone is off').waitFor();
    const bytes = async () => {
      const { inbound } = await ada.stats();
      return inbound.find(({ kind }) => kind === 'audio')?.packetsReceived;
    };
    await until('no sound comes any more', () => staysEqual(bytes), { within });
    await grace.press('Unmute microphone');
    await tile.getByTitle('Microphone is off').waitFor({ state: 'hidden' });
    await ada.seesAndHears();
  });

  await t.test('who joins muted is muted for the others', async () => {
    const alan = await join(browser, url, { name: 'Alan', muted: true });
    const off = ada.tile('Alan').getByTitle('Microphone is off');
    // One player for each microphone that the server has announced.
    await ada.page.locator('audio').nth(1).waitFor({ state: 'attached' });
    assert.equal(await off.isVisible(), true);
    await alan.press('Unmute microphone');
    await off.waitFor({ state: 'hidden' });
    await alan.leave();
    await ada.tile('Alan').waitFor({ state: 'detached' });
  });

  await t.test('without a camera there are initials; with it the picture is back', async () => {
    await grace.press('Turn camera off');
    await ada.page.locator('.tile:not(.with-video)', { hasText: 'Grace' }).waitFor();
    await grace.press('Turn camera on');
    await ada.page.locator('.tile.with-video', { hasText: 'Grace' }).waitFor();
    await ada.seesAndHears();
  });

  await t.test('a shared screen has a tile of its own', async () => {
    await grace.press('Share the screen');
    await ada.tile('Grace’s screen').waitFor();
    await until('two videos arrive', async () => (await playing(ada)) === 2, { within });
    await grace.press('Stop sharing the screen');
    await ada.tile('Grace’s screen').waitFor({ state: 'detached' });
    await until('one video is left', async () => (await playing(ada)) === 1, { within });
  });

  await t.test('rooms are apart', async () => {
    const alan = await join(browser, url, { name: 'Alan', room: 'another' });
    await alan.page.getByText('You are alone here').waitFor();
    await alan.leave();
  });

  await t.test('who leaves is gone for the others', async () => {
    await grace.press('Leave');
    await grace.page.getByRole('button', { name: 'Join' }).waitFor();
    await tile.waitFor({ state: 'detached' });
    await ada.page.getByText('You are alone here').waitFor();
  });

  assert.deepEqual([...ada.errors, ...grace.errors], []);
});

/** Whether a value is the same for half a second. */
async function staysEqual(read) {
  const before = await read();
  await new Promise((resolve) => setTimeout(resolve, 500));
  return before === (await read());
}

/** How many videos of others are playing. */
function playing({ page }) {
  return page.evaluate(
    () =>
      [...document.querySelectorAll('.tile:not(.own) video')].filter(
        (video) => video.srcObject !== null && video.videoWidth > 0,
      ).length,
  );
}
