// The media goes away under a running conference: everyone is back by themselves.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { startPod, startVirtualPod } from '../lib/pod.js';
import { join, startBrowser } from './support/browser.js';
import { local, startConference } from './support/conference.js';

/** Two people who see and hear each other; `lost` takes the media away. */
async function survive(t, conference, lost) {
  const browser = await startBrowser(t);
  const ada = await join(browser, conference.url, { name: 'Ada' });
  const grace = await join(browser, conference.url, { name: 'Grace' });
  await Promise.all([ada.seesAndHears(), grace.seesAndHears()]);

  for (const { page } of [ada, grace]) await page.evaluate(watchForInterruption);
  await lost();
  for (const { page } of [ada, grace]) await page.evaluate(() => window['interrupted']);
  for (const { page } of [ada, grace]) {
    await page.getByText(/^Reconnecting/).waitFor({ state: 'detached' });
  }
  await ada.tile('Grace').waitFor();
  await grace.tile('Ada').waitFor();
  await Promise.all([ada.seesAndHears(), grace.seesAndHears()]);
  await grace.say('Back again');
  await ada.reads('Grace', 'Back again');
  assert.equal(conference.server.exit, undefined, 'the server runs');
  assert.deepEqual([...ada.errors, ...grace.errors], []);
}

/** In the page: the people are told, were it for a moment that looking at it now and then misses. */
function watchForInterruption() {
  window['interrupted'] = new Promise((resolve) => {
    const told = () =>
      document.querySelector('.banner')?.textContent.startsWith('Reconnecting') && resolve(true);
    new MutationObserver(told).observe(document.body, { childList: true, subtree: true });
  });
}

// A real worker: when it dies, everything does. What the death of one of several does is in
// virtual.test.js.
test('a worker dies: everyone enters again by themselves', async (t) => {
  const conference = await startConference(t, { pod: local ? undefined : await startPod(t) });
  await survive(t, conference, async () => {
    process.kill(await mediaWorkerOf(conference), 'SIGKILL');
  });
});

test('the server is restarted: everyone enters again by themselves', async (t) => {
  const conference = await startConference(t);
  const { port } = new URL(conference.url);
  await survive(t, conference, async () => {
    await conference.server.stop();
    Object.assign(
      conference,
      await startConference(t, { pod: conference.pod ?? undefined, env: { PORT: port } }),
    );
  });
});

test('the pod dies and comes back: so does the conference', { skip: local }, async (t) => {
  const conference = await startConference(t);
  const { pod } = conference;
  await survive(t, conference, async () => {
    pod.kill('SIGKILL');
    await pod.program.ended;
    await startVirtualPod(t, { listen: `127.0.0.1:${pod.port}` });
  });
});

/** The process that carries the media: the pod's, or a child of the server. */
async function mediaWorkerOf({ pod, server }) {
  if (pod) {
    const { workers } = await pod.status();
    return workers.find(({ carries }) => carries.transports > 0).pid;
  }
  const children = readFileSync(`/proc/${server.pid}/task/${server.pid}/children`, 'utf8');
  return Number(children.trim().split(' ')[0]);
}
