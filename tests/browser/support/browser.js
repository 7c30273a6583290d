// Debian's Chromium with a fake camera (moving) and microphone (a voice).
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { chromium } from 'playwright-core';
import { scopeOf } from '../../lib/scope.js';
import { temporaryDirectory } from '../../lib/temporary.js';
import { Participant } from './participant.js';
import { watchPeerConnections } from './page-stats.js';
import { writeVoice } from './voice.js';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const VIEWPORT = { width: 1280, height: 800 };

/**
 * Starts a browser, which ends with `owner`.
 * @param {import('../../lib/scope.js').Owner} owner
 * @param {{ netns?: string }} [options]  the network namespace it runs in
 */
export async function startBrowser(owner, { netns } = {}) {
  const browser = await chromium.launch({
    executablePath: netns ? await wrapper(owner, netns) : CHROMIUM,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
      ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
      ...['--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream'],
      `--use-file-for-fake-audio-capture=${await writeVoice(owner)}`,
    ],
  });
  scopeOf(owner).after(() => browser.close());
  return browser;
}

/**
 * Somebody joins a room, in a browser profile of their own.
 * @param {import('playwright-core').Browser} browser
 * @param {string} url  of the conference
 * @param {{ name: string, room?: string, query?: string, muted?: boolean, prepare?: (page: import('playwright-core').Page) => Promise<unknown> }} who
 */
export async function join(browser, url, { name, room = 'test', query = '', muted, prepare }) {
  const context = await browser.newContext({ viewport: VIEWPORT });
  const page = await context.newPage();
  const participant = new Participant(name, page);
  await page.addInitScript(watchPeerConnections);
  await prepare?.(page);
  await page.goto(`${url}/?room=${room}${query}`);
  await page.getByLabel('Your name').fill(name);
  await page.getByRole('button', { name: 'Turn camera off' }).waitFor();
  if (muted) await participant.press('Mute microphone');
  await page.getByRole('button', { name: 'Join' }).click();
  await participant.tile(`${name} (you)`).waitFor();
  return participant;
}

/** A program that runs Chromium in a namespace, as Playwright starts a program of one word. */
async function wrapper(owner, netns) {
  const file = path.join(await temporaryDirectory(owner), 'chromium');
  const command = `nsenter --net=/var/run/netns/${netns} -- ${CHROMIUM}`;
  await writeFile(file, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 });
  return file;
}
