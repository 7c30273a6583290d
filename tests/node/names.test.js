// Host names with several addresses, which come and go: of gateways, of nodes, and of pods that one worker
// spans.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import { asFromAnotherHost, createWorker } from '../lib/application.js';
import { flowThrough } from '../lib/flow.js';
import { podOf, startCluster, startGateway } from '../lib/gateway.js';
import { makeName, NAME } from '../lib/names.js';
import { startVirtualPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { startTraffic } from '../lib/traffic.js';
import { until } from '../lib/until.js';

/** @param {number} last */
const address = (last) => `127.0.0.${last}`;

/**
 * Pods on one port of several addresses.
 * @param {test.TestContext} t
 * @param {number} count
 */
async function startOnOnePort(t, count) {
  const first = await startVirtualPod(t, { listen: `${address(1)}:0` });
  const pods = [first];
  for (let i = 2; i <= count; i++) {
    pods.push(await startVirtualPod(t, { listen: `${address(i)}:${first.port}` }));
  }
  return pods;
}

/**
 * How many connections a pod has.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function attached(pod) {
  return (await pod.status()).connections.attached;
}

/**
 * How many transports lie on a pod's workers, pipes included.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function carried(pod) {
  const { workers } = await pod.status();
  return workers.reduce((sum, { carries }) => sum + carries.transports, 0);
}

for (const [what, path] of [
  ['a worker', ''],
  ['a session', '/v1/sessions/call'],
]) {
  // Protects calls from the death of one of "any number of replicas": there is no balancer between.
  test(`two gateways behind one name, one killed: ${what} goes on through the other`, async (t) => {
    const name = await makeName(t, address(1), address(2));
    const { pods, gateway } = await startCluster(t, 2);
    const listen = `${address(2)}:${gateway.port}`;
    const gateways = [gateway, await startGateway(t, pods, { listen })];
    if (path) assert.equal((await gateway.ask('PUT', path)).status, 201);
    const { workerBin } = await name.relay();
    const url = `ws://${NAME}:${gateway.port}${path}`;
    const worker = await createWorker(t, url, { workerBin }, { env: asFromAnotherHost });
    worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
    await podOf(pods, worker);
    const traffic = await startTraffic(await worker.createRouter({ mediaCodecs }));
    await traffic.flows('traffic flows', 10);
    const carrying = async (/** @type {import('../lib/gateway.js').Gateway} */ one) =>
      (await one.ask('GET', '/v1/status')).body.connections === 1;
    const used = (await carrying(gateways[0])) ? 0 : 1;
    assert.ok(await carrying(gateways[used]), 'one of them has it');
    await gateways[used].stop('SIGKILL');
    const begin = performance.now();
    await traffic.flows('traffic flows again', 10);
    t.diagnostic(`traffic again ${Math.round(performance.now() - begin)} ms after the death`);
    assert.ok(await carrying(gateways[1 - used]));
    // The other way, with one that is stopped and takes connections: nobody is told that it is gone.
    const other = address(used + 1);
    const back = await startGateway(t, pods, { listen: `${other}:${gateway.port}` });
    gateways[1 - used].program.kill('SIGSTOP');
    t.after(() => gateways[1 - used].program.kill('SIGCONT'));
    await traffic.flows('traffic flows once more', 10);
    assert.ok(await carrying(back));
    t.diagnostic(await traffic.stopAndCheck());
    const gone = new Promise((resolve) => worker.once('subprocessclose', () => resolve(undefined)));
    worker.close();
    await gone;
    gateways[1 - used].program.kill('SIGCONT');
  });
}

// Protects calls on pods without a gateway: another pod of the name says nothing about them.
test('a worker of one pod among several of a name stays with its pod', async (t) => {
  const name = await makeName(t, address(1), address(2));
  const pods = await startOnOnePort(t, 2);
  const { workerBin } = await name.relay();
  const url = `ws://${NAME}:${pods[0].port}/v1/worker/virtual`;
  const worker = await createWorker(t, url, { workerBin }, { env: asFromAnotherHost });
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const pod = await podOf(pods, worker);
  const [other] = pods.filter((one) => one !== pod);
  const router = await worker.createRouter();
  // Longer than a socket may be silent, so that another one is opened; the other pod answers there.
  pod.kill('SIGSTOP');
  t.after(() => pod.kill('SIGCONT'));
  const asked = router.dump();
  await other.program.says(/unknownConnection/);
  pod.kill('SIGCONT');
  await asked;
  assert.equal(await podOf(pods, worker), pod);
});

// Protects clusters whose nodes are the addresses of a name: a headless Service, or DNS that somebody keeps.
test('nodes come and go with the addresses of a name', async (t) => {
  const pods = await startOnOnePort(t, 3);
  const { port } = pods[0];
  const nodes = (/** @type {number[]} */ ...lasts) =>
    Object.fromEntries(lasts.map((last) => [`${address(last)}:${port}`, 'ready']));
  const name = await makeName(t, address(1), address(2));
  const gateway = await startGateway(t, [], {
    args: ['--nodes-dns', `${NAME}:${port}`],
    prefix: name.prefix,
  });
  await gateway.statesAre(nodes(1, 2));
  const worker = await createWorker(t, gateway, {}, { env: asFromAnotherHost });
  const home = await podOf(pods, worker);
  const traffic = await startTraffic(await worker.createRouter({ mediaCodecs }));
  name.set(address(1), address(2), address(3));
  await gateway.statesAre(nodes(1, 2, 3));
  // Not found is no news.
  name.set();
  await gateway.program.says(/the nodes stay as they are/);
  assert.deepEqual(await gateway.states(), nodes(1, 2, 3));
  // Only another one than where the call is.
  const left = pods.findIndex((pod) => pod !== home);
  name.set(address(left + 1));
  await gateway.statesAre(nodes(left + 1));
  await podOf([pods[left]], await createWorker(t, gateway));
  await traffic.flows('the call on a node that is not listed any more', 10);
  t.diagnostic(await traffic.stopAndCheck());
});

// Protects calls over the pods of a name from what DNS does: answers late, fewer, none.
test('one worker over the pods of a name: they come, go, and are not found for a moment', async (t) => {
  const pods = await startOnOnePort(t, 3);
  const name = await makeName(t, address(1), address(2));
  const { workerBin, log } = await name.relay();
  const env = { MAFALDA_PLACEMENT: 'spread' };
  const url = `ws://${NAME}:${pods[0].port}`;
  const worker = await createWorker(t, url, { workerBin }, { env });
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const router = await worker.createRouter({ mediaCodecs });
  const call = await flowThrough(t, router, { ssrc: 1111, rtpParameters: opus(1111), interval: 5 });
  const goesOn = async () => {
    const { sent } = await call.flow.report();
    await until('media goes on', async () => (await call.flow.report()).received > sent + 40);
    const { lost, doubled, disordered } = await call.flow.report();
    assert.deepEqual({ lost, doubled, disordered }, { lost: [], doubled: 0, disordered: 0 });
  };
  await until('media flows', async () => (await call.flow.report()).received > 20);
  for (const pod of pods.slice(0, 2))
    assert.equal(await carried(pod), 2, 'one end, and of the pipe');

  // Not found is no news: no connection is let go of, none is made.
  name.set();
  await until('it is said', async () =>
    /pods\.test: .*the pods stay as they are/.test(await readFile(log, 'utf8')),
  );
  const transports = [await router.createDirectTransport(), await router.createDirectTransport()];
  await goesOn();
  const [first, second] = pods;
  assert.deepEqual([await attached(first), await attached(second)], [1, 1]);
  assert.equal((await carried(first)) + (await carried(second)), 6, 'all that is new lies there');

  // One address more is one pod more.
  name.set(...pods.map((_, i) => address(i + 1)));
  await until('it lends', async () => (await attached(pods[2])) === 1);
  await until('it is used', async () => {
    transports.push(await router.createDirectTransport());
    return (await carried(pods[2])) > 0;
  });

  // One alone is the same pod as before, under the same name: the others keep what they have.
  name.set(address(1));
  await until('nothing new goes to the others', async () => {
    const before = [await carried(pods[1]), await carried(pods[2])];
    for (let i = 0; i < 3; i++) transports.push(await router.createDirectTransport());
    const now = [await carried(pods[1]), await carried(pods[2])];
    return `${before}` === `${now}`;
  });
  await goesOn();
  assert.deepEqual(await Promise.all(pods.map(attached)), [1, 1, 1]);
  for (const transport of transports) transport.close();
  await until('the third is let go of', async () => (await attached(pods[2])) === 0);
  await goesOn();
  call.flow.stop();
});

test('several gateways in turn, and pods of a name, are what --check says', async (t) => {
  const name = await makeName(t, address(1), address(2));
  const pods = await startOnOnePort(t, 2);
  const { gateway } = await startCluster(t, 1);
  const check = async (/** @type {string} */ url) => {
    const { workerBin, log } = await name.relay();
    const env = { MAFALDA_URL: url, MEDIASOUP_VERSION: undefined };
    const checking = start(t, workerBin, ['--check'], { env });
    const { code } = await checking.ended;
    return { code, said: checking.stdout, wrong: await readFile(log, 'utf8') };
  };
  const lends = await check(`ws://${NAME}:${pods[0].port}`);
  assert.equal(lends.code, 0, lends.wrong);
  for (const last of [1, 2]) {
    const line = `ok: ws://${address(last)}:${pods[0].port}/ lends workers`;
    assert.ok(lends.said.includes(line), lends.said);
  }
  // Of the gateway's two addresses one has nobody.
  const gives = await check(`ws://${NAME}:${gateway.port}`);
  assert.equal(gives.code, 0, gives.wrong);
  assert.match(gives.said, /^ok: ws:\/\/pods\.test:\d+\/ gives a worker/);
});
