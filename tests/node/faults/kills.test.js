// kill -9 of each part in turn, and who notices.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../../lib/application.js';
import { flowThrough } from '../../lib/flow.js';
import { startPod } from '../../lib/pod.js';
import { mediaCodecs, opus } from '../../lib/rtp.js';
import { event, until } from '../../lib/until.js';

/**
 * An application with one worker and a call through it.
 * @param {test.TestContext} t
 * @param {import('../../lib/pod.js').Pod} pod
 * @param {number} ssrc
 */
async function application(t, pod, ssrc) {
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({ mediaCodecs });
  const call = await flowThrough(t, router, { ssrc, rtpParameters: opus(ssrc), interval: 5 });
  await until('media flows', async () => (await call.flow.report()).received > 20);
  return { worker, router, call };
}

test("kill -9 of one worker of three: the others' media has no gap", async (t) => {
  const pod = await startPod(t, { workers: 3 });
  const [victim, ...others] = [
    await application(t, pod, 1001),
    await application(t, pod, 1002),
    await application(t, pod, 1003),
  ];
  const { pid, index } = await pod.entryOf(victim.worker);
  /** @type {number[]} */
  const alsoDied = [];
  for (const { worker } of others) worker.on('died', () => alsoDied.push(worker.pid));

  const died = event(victim.worker, 'died');
  const start = performance.now();
  process.kill(pid, 'SIGKILL');
  const diedAfter = died.then(() => performance.now() - start);
  await until(
    'the worker is replaced',
    async () => {
      const { workers } = await pod.status();
      return workers.some(
        (worker) =>
          worker.index === index &&
          worker.pid !== pid &&
          worker.state === 'idle' &&
          worker.restarts > 0,
      );
    },
    { every: 10 },
  );
  const replacedAfter = performance.now() - start;
  const [error] = await died;
  assert.match(error.message, /SIGKILL/);
  assert.equal(victim.worker.died, true);
  assert.equal(victim.router.closed, true);
  assert.ok(replacedAfter < 1000, `replaced after ${Math.round(replacedAfter)} ms`);

  // The replacement works; the dead one's application starts over.
  const fresh = await application(t, pod, 1004);
  assert.equal((await pod.entryOf(fresh.worker)).index, index);

  assert.deepEqual(alsoDied, []);
  for (const { call } of others) {
    const now = (await call.flow.report()).received;
    await until('its media goes on', async () => (await call.flow.report()).received > now + 20);
    const report = await call.flow.report();
    assert.deepEqual(report.lost, []);
    assert.equal(report.doubled, 0);
    t.diagnostic(
      `another worker's media: ${report.received} packets at 5 ms, none lost, longest time between two ` +
        `${report.maxGap.toFixed(1)} ms, longest on the way ${report.maxTransit.toFixed(1)} ms`,
    );
  }
  t.diagnostic(
    `died after ${Math.round(await diedAfter)} ms, replaced within ${Math.round(replacedAfter)} ms`,
  );
});

for (const signal of /** @type {const} */ (['SIGSEGV', 'SIGABRT', 'SIGTERM'])) {
  test(`a worker that ends by ${signal} ends so for its application`, async (t) => {
    const pod = await startPod(t);
    const worker = await createWorker(t, pod);
    const { pid } = await pod.entryOf(worker);
    const died = event(worker, 'died');
    const gone = event(worker, 'subprocessclose');
    process.kill(pid, signal);
    const [{ message }] = await died;
    // SIGTERM is an orderly end, with exit code 0, as of mediasoup's own worker.
    assert.match(message, signal === 'SIGTERM' ? /code:0/ : new RegExp(`signal:${signal}`));
    await gone;
  });
}

test('kill -9 of the relay: died at once; the pod closes the worker after the grace time', async (t) => {
  const pod = await startPod(t, { args: ['--grace', '2'] });
  const { worker } = await application(t, pod, 1001);
  const { pid } = await pod.entryOf(worker);
  const died = event(worker, 'died');
  process.kill(worker.pid, 'SIGKILL');
  const [{ message }] = await died;
  assert.match(message, /SIGKILL/);
  await until('its worker is gone', async () => {
    const { workers, connections } = await pod.status();
    return (
      connections.attached + connections.detached === 0 &&
      workers.every((entry) => entry.pid !== pid)
    );
  });
});

test('kill -9 of the pod: died within the grace time', async (t) => {
  const pod = await startPod(t, { args: ['--grace', '2'] });
  const { worker, router } = await application(t, pod, 1001);
  const { pid } = await pod.entryOf(worker);
  const died = event(worker, 'died', { within: 10_000 });
  pod.kill('SIGKILL');
  const unanswered = assert.rejects(router.createDirectTransport());
  await died;
  await unanswered;
  assert.equal(router.closed, true);
  await until('the pod leaves no worker behind', () => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  });
});

test('kill -9 of the pod and another in its place: died long before the grace time', async (t) => {
  const pod = await startPod(t);
  const { worker } = await application(t, pod, 1001);
  const died = event(worker, 'died', { within: 10_000 });
  pod.kill('SIGKILL');
  await pod.program.ended;
  const next = await startPod(t, { listen: `127.0.0.1:${pod.port}` });
  await died;
  await createWorker(t, next);
});
