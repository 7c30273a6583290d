// The network between application and pod breaks for 10 s, for real (a router between network
// namespaces drops everything): people in a conference do not notice.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'node:test';
import { relayIn } from '../lib/application.js';
import { makeKeys } from '../lib/keys.js';
import { networkNamespace, route } from '../lib/netns.js';
import { startPod } from '../lib/pod.js';
import { join, startBrowser } from './support/browser.js';
import { local, startConference } from './support/conference.js';

/** How long the network is broken, milliseconds. */
const CUT = 10_000;
/** How often the pictures are counted, milliseconds. */
const LOOK = 1_000;

test('a conference goes on while its application is cut off', { skip: local }, async (t) => {
  // Only the relay is on the far side: pod, page and browser share a host.
  const [far, near] = [networkNamespace(t), networkNamespace(t)];
  const network = route(t, far, near);
  const keys = await makeKeys(t);
  const pod = await startPod(t, {
    listen: `${network.right}:0`,
    args: [...keys.podArgs(), '--rtc-ip', '127.0.0.1'],
    netns: near,
  });
  const { url, server } = await startConference(t, {
    pod,
    netns: near,
    env: { MEDIASOUP_WORKER_BIN: await relayIn(t, far), MAFALDA_TOKEN: await keys.token() },
  });
  const browser = await startBrowser(t, { netns: near });
  const ada = await join(browser, url, { name: 'Ada' });
  const grace = await join(browser, url, { name: 'Grace' });
  await Promise.all([ada.seesAndHears(), grace.seesAndHears()]);
  const before = await connections(ada, grace);

  network.cut();
  // The page shows at once that Grace is muted; the request waits for the pod.
  await grace.press('Mute microphone');
  for (let cut = 0; cut < CUT; cut += LOOK) {
    const { framesDecoded } = await ada.received();
    await delay(LOOK);
    const more = (await ada.received()).framesDecoded - framesDecoded;
    assert.ok(more > 0, `pictures stood still ${cut} ms after the cut`);
  }
  const told = await ada.tile('Grace').getByTitle('Microphone is off').isVisible();
  assert.equal(told, false, 'the network was really cut');

  network.heal();
  await ada.tile('Grace').getByTitle('Microphone is off').waitFor();
  await grace.press('Unmute microphone');
  await ada.tile('Grace').getByTitle('Microphone is off').waitFor({ state: 'hidden' });
  await Promise.all([ada.seesAndHears(), grace.seesAndHears()]);
  assert.deepEqual(await connections(ada, grace), before, 'nobody had to enter again');
  assert.doesNotMatch(server.output, /died/);
  assert.deepEqual([...ada.errors, ...grace.errors], []);
});

/** How many peer connections each has ever made. */
function connections(...people) {
  return Promise.all(people.map(({ page }) => page.evaluate(() => window.peerConnections.length)));
}
