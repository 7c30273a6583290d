// The network between application and pod breaks for 10 s, for real: a router between two
// network namespaces drops everything. Calls go on, and of the application's traffic nothing
// is lost and nothing happens twice.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import test from 'node:test';
import { createWorker, relayIn } from '../../lib/application.js';
import { flowThrough } from '../../lib/flow.js';
import { makeKeys } from '../../lib/keys.js';
import { networkNamespace, route } from '../../lib/netns.js';
import { startPod } from '../../lib/pod.js';
import { mediaCodecs, opus } from '../../lib/rtp.js';
import { startTraffic } from '../../lib/traffic.js';
import { event, until } from '../../lib/until.js';

/** How long the network is broken, milliseconds. */
const CUT = 10_000;
const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' };

/**
 * A pod and a relay in namespaces of their own, and the network between them. The application
 * is this process; the media's clients sit beside the pod.
 * @param {test.TestContext} t
 * @param {string[]} [args]  of the pod
 */
async function apart(t, args = []) {
  const [application, podSide] = [networkNamespace(t), networkNamespace(t)];
  const network = route(t, application, podSide);
  const keys = await makeKeys(t);
  const pod = await startPod(t, {
    workers: 2,
    listen: `${network.right}:0`,
    args: [...keys.podArgs(), '--rtc-ip', '127.0.0.1', ...args],
    netns: podSide,
    token: await keys.token({ role: 'monitor' }),
  });
  const worker = await createWorker(
    t,
    pod,
    { workerBin: await relayIn(t, application) },
    { env: { MAFALDA_TOKEN: await keys.token() } },
  );
  const router = await worker.createRouter({ mediaCodecs });
  return { network, pod, podSide, worker, router };
}

test(`the connection is cut for ${CUT / 1000} s: nothing lost, nothing doubled`, async (t) => {
  const { network, pod, podSide, worker, router } = await apart(t);
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const call = await flowThrough(t, router, {
    ssrc: 1111,
    rtpParameters: opus(1111),
    netns: podSide,
  });
  const traffic = await startTraffic(router);
  await traffic.flows('traffic flows', 20);
  await until('media flows', async () => (await call.flow.report()).received > 50);

  const atCut = await call.flow.report();
  network.cut();
  // Answers that were on their way may still arrive; a request made now may not.
  let answered = false;
  const unanswered = router.createPlainTransport({ listenInfo });
  unanswered.then(() => (answered = true));
  await delay(CUT);
  assert.equal(answered, false, 'the network was really cut');
  const atHeal = await call.flow.report();
  network.heal();
  const healed = performance.now();
  const { id } = await unanswered;
  t.diagnostic(
    `the application is served again ${Math.round(performance.now() - healed)} ms after the cut`,
  );

  await traffic.flows('traffic flows again', 20);
  t.diagnostic(await traffic.stopAndCheck([call.inward.id, call.outward.id, id]));

  // The call never noticed.
  call.flow.stop();
  const report = await call.flow.report();
  assert.deepEqual(report.lost, []);
  assert.equal(report.doubled, 0);
  const sent = atHeal.sent - atCut.sent;
  assert.ok(sent > 100);
  const during = atHeal.received - atCut.received;
  assert.ok(during >= sent - 10, `${during} packets during the cut, of ${sent}`);
  t.diagnostic(
    `media: ${report.received} packets, ${during} of them during the cut, none lost, longest time between two ${report.maxGap.toFixed(1)} ms`,
  );
  const { workers } = await pod.status();
  assert.equal(workers.filter(({ connection }) => connection?.connected).length, 1);
});

test('a cut past the grace time: died at the application, closed at the pod', async (t) => {
  const { network, pod, podSide, worker, router } = await apart(t, ['--grace', '2']);
  const call = await flowThrough(t, router, {
    ssrc: 1111,
    rtpParameters: opus(1111),
    netns: podSide,
  });
  await until('media flows', async () => (await call.flow.report()).received > 10);
  const [{ pid }] = (await pod.status()).workers.filter(({ connection }) => connection);
  const died = event(worker, 'died', { within: 30_000 });
  const start = performance.now();
  network.cut();
  const unanswered = assert.rejects(router.createPlainTransport({ listenInfo }));
  await died;
  t.diagnostic(`died after ${Math.round(performance.now() - start)} ms`);
  await unanswered;
  assert.equal(router.closed, true);
  await until(
    'the pod has closed its worker',
    async () => {
      const { workers, connections } = await pod.status();
      return (
        connections.attached + connections.detached === 0 &&
        !workers.some((worker) => worker.pid === pid)
      );
    },
    { within: 30_000, every: 250 },
  );
  // And is whole again when the network is.
  network.heal();
  assert.equal((await pod.status()).workers.filter(({ state }) => state === 'idle').length, 2);
});
