// The socket between relay and pod breaks again and again, in the middle of whatever is on it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { asFromAnotherHost, createWorker } from '../../lib/application.js';
import { startPod } from '../../lib/pod.js';
import { startProxy } from '../../lib/proxy.js';
import { mediaCodecs } from '../../lib/rtp.js';
import { startTraffic } from '../../lib/traffic.js';
import { until } from '../../lib/until.js';

const BREAKS = 30;

test(`the socket breaks ${BREAKS} times under traffic: nothing lost, nothing doubled`, async (t) => {
  const pod = await startPod(t);
  const proxy = await startProxy(t, pod.port);
  const worker = await createWorker(t, proxy, {}, { env: asFromAnotherHost });
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const router = await worker.createRouter({ mediaCodecs });
  const traffic = await startTraffic(router);
  for (let i = 0; i < BREAKS; i++) {
    // Somewhere else each time: after so many bytes, not at the end of a message.
    const { taken, carried } = proxy;
    const mark = carried + 3_000 + Math.floor(Math.random() * 7_000);
    await until('the connection carries more', () => proxy.carried >= mark, { every: 1 });
    proxy.breakAll();
    await until('the relay is back', () => proxy.taken > taken);
  }
  await traffic.flows('traffic flows at the end', 10);
  t.diagnostic(await traffic.stopAndCheck());
  assert.ok(proxy.taken > BREAKS);
});

test('with the channel handed over a broken socket is not noticed, and is replaced', async (t) => {
  const pod = await startPod(t);
  const proxy = await startProxy(t, pod.port);
  const worker = await createWorker(t, proxy);
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  assert.equal((await pod.entryOf(worker)).connection.handedOver, true);
  const router = await worker.createRouter({ mediaCodecs });
  const traffic = await startTraffic(router);
  for (let i = 0; i < 3; i++) {
    const { taken } = proxy;
    proxy.breakAll();
    await traffic.flows('traffic flows', 10);
    await until('the relay is back', () => proxy.taken > taken);
    await until('so the pod sees', async () => (await pod.entryOf(worker)).connection.connected);
  }
  t.diagnostic(await traffic.stopAndCheck());
});

test('the socket breaks while requests pile up: large amounts are resumed whole', async (t) => {
  const pod = await startPod(t);
  const proxy = await startProxy(t, pod.port);
  const worker = await createWorker(t, proxy, {}, { env: asFromAnotherHost });
  const router = await worker.createRouter({ mediaCodecs });
  const transports = await Promise.all(
    Array.from({ length: 100 }, () => router.createDirectTransport()),
  );
  const { taken } = proxy;
  // Some megabytes of answers, broken off in the middle, twice.
  const dumps = Array.from({ length: 2_000 }, () => router.dump());
  for (const part of [100_000, 500_000]) {
    const mark = proxy.carried + part;
    await until('part of it has passed', () => proxy.carried >= mark, { every: 1 });
    proxy.breakAll();
  }
  const ids = transports.map(({ id }) => id).sort();
  for (const dump of await Promise.all(dumps)) assert.deepEqual([...dump.transportIds].sort(), ids);
  assert.ok(proxy.taken >= taken + 2);
});
