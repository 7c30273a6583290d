// On one host the pod takes the channel's ends over from the relay. The application must not
// notice: neither that it happened nor that it did not.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { asFromAnotherHost, createWorker } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { until } from '../lib/until.js';

/** @param {import('../lib/pod.js').Pod} pod */
const connections = async (pod) =>
  (await pod.status()).workers.map(({ connection }) => connection).filter(Boolean);

/** @param {import('mediasoup').types.Worker} worker */
const death = (worker) => new Promise((resolve) => worker.once('died', resolve));

for (const { title, env, handedOver } of [
  { title: 'by itself', env: {}, handedOver: true },
  { title: 'and not when told so', env: asFromAnotherHost, handedOver: false },
]) {
  test(`the channel is handed over on one host, ${title}`, async (t) => {
    const pod = await startPod(t);
    const worker = await createWorker(t, pod, {}, { env });
    assert.equal((await connections(pod))[0]?.handedOver, handedOver);
    const routers = await Promise.all(Array.from({ length: 50 }, () => worker.createRouter()));
    const { routerIds } = await worker.dump();
    assert.deepEqual(new Set(routerIds), new Set(routers.map(({ id }) => id)));
    worker.close();
    await until('the worker is given back', async () => (await connections(pod)).length === 0);
  });
}

test('a refused request is answered by the pod on the channel that it took over', async (t) => {
  const pod = await startPod(t);
  const router = await (await createWorker(t, pod)).createRouter();
  await assert.rejects(
    router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: 'no address' } }),
    TypeError,
  );
  assert.ok(await router.createPlainTransport({ listenInfo: { protocol: 'udp', ip: '0.0.0.0' } }));
});

test('a broken connection does not matter to a channel that was handed over', async (t) => {
  const pod = await startPod(t);
  /** @type {Set<net.Socket>} */
  const open = new Set();
  const proxy = net.createServer((socket) => {
    const onward = net.connect(pod.port, '127.0.0.1');
    for (const each of [socket, onward])
      each.on('error', () => {}).on('close', () => open.delete(each));
    open.add(socket).add(onward);
    socket.pipe(onward).pipe(socket);
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', () => resolve(undefined)));
  t.after(() => {
    open.forEach((socket) => socket.destroy());
    proxy.close();
  });
  const { port } = /** @type {net.AddressInfo} */ (proxy.address());
  const worker = await createWorker(t, `ws://127.0.0.1:${port}`);
  assert.equal((await connections(pod))[0]?.handedOver, true);
  for (let round = 0; round < 3; round++) {
    open.forEach((socket) => socket.destroy());
    assert.equal((await worker.dump()).pid, worker.pid);
    await until('the connection is resumed', async () => (await connections(pod))[0]?.connected);
  }
});

test('a pod that dies takes its workers with it at once', async (t) => {
  const pod = await startPod(t);
  const worker = await createWorker(t, pod);
  const died = death(worker);
  const begin = performance.now();
  await pod.program.stop('SIGKILL');
  await died;
  // Not after the grace time, which is for connections that may come back.
  assert.ok(performance.now() - begin < 5000);
});
