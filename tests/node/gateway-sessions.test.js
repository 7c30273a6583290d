// Sessions behind a gateway without Kubernetes: where they are placed, found, and moved to.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import test from 'node:test';
import WebSocket from 'ws';
import { asFromAnotherHost, createWorker, mediasoup, relayWithLog } from '../lib/application.js';
import { nameOf, podOf, startCluster, startGateway } from '../lib/gateway.js';
import { startVirtualPod } from '../lib/pod.js';
import { mediaCodecs } from '../lib/rtp.js';
import { startTraffic } from '../lib/traffic.js';
import { event, until } from '../lib/until.js';

const path = '/v1/sessions/call';

/**
 * The sessions that pods have, as "generation at name".
 * @param {import('../lib/pod.js').Pod[]} pods
 */
async function homes(pods) {
  const found = [];
  for (const pod of pods) {
    const { sessions } = await pod.status();
    found.push(...sessions.map(({ generation }) => `${generation} at ${nameOf(pod)}`));
  }
  return found.sort();
}

/**
 * The answer to a request for a session's channel that is refused.
 * @param {import('../lib/gateway.js').Gateway} gateway
 * @param {Record<string, string>} headers
 * @returns {Promise<{ status: number, headers: Record<string, any>, code: string, message: string }>}
 */
async function refusal(gateway, headers) {
  const socket = new WebSocket(`${gateway.webSocketUrl}${path}/worker`, {
    headers: { 'mafalda-mediasoup': mediasoup.version, 'mafalda-protocol': '1', ...headers },
  });
  socket.on('error', () => {});
  const response = await new Promise((resolve, reject) => {
    socket.once('open', () => reject(new Error('it was let in')));
    socket.once('unexpected-response', (_request, response) => resolve(response));
  });
  let body = '';
  for await (const text of response.setEncoding('utf8')) body += text;
  return { status: response.statusCode, headers: response.headers, ...JSON.parse(body).error };
}

test('a session is placed once, found through every gateway and ended', async (t) => {
  const { pods, gateway } = await startCluster(t, 3);
  const other = await startGateway(t, pods);
  assert.equal((await gateway.ask('GET', path)).status, 404);
  const made = await gateway.ask('PUT', path);
  assert.deepEqual([made.status, made.body.generation], [201, 1]);
  // At once, and through the other one, which was not asked.
  const worker = await createWorker(t, gateway.webSocketUrl + path);
  const second = await createWorker(t, other.webSocketUrl + path);
  const home = await podOf(pods, worker);
  assert.equal(await podOf(pods, second), home);
  assert.equal(made.headers.get('mafalda-pod'), nameOf(home));
  const again = await other.ask('PUT', path, { maxConnections: 2 });
  assert.deepEqual([again.status, again.body.generation, again.body.maxConnections], [200, 1, 2]);
  assert.deepEqual(await homes(pods), [`1 at ${nameOf(home)}`]);
  await assert.rejects(createWorker(t, other.webSocketUrl + path), 'two are enough');
  const pod = nameOf(home);
  const session = { name: 'call', generation: 1, pod, pods: [pod], lastReason: 'Placed' };
  const all = { sessions: [session] };
  assert.deepEqual((await other.ask('GET', '/v1/sessions')).body, all);
  assert.equal((await other.ask('GET', path)).body.connections, 2);
  assert.equal((await other.ask('DELETE', path)).status, 204);
  await until('it is gone', async () => (await gateway.ask('GET', path)).status === 404);
  assert.deepEqual(await homes(pods), []);
});

test('two gateways that are asked at the same time agree on one home', async (t) => {
  const { pods, gateway } = await startCluster(t, 3, { args: ['--placement', 'spread'] });
  const other = await startGateway(t, pods, { args: ['--placement', 'spread'] });
  for (let i = 0; i < 10; i++) {
    const name = `/v1/sessions/call-${i}`;
    const answers = await Promise.all([gateway, other].map((one) => one.ask('PUT', name)));
    for (const { status } of answers) assert.ok(status === 200 || status === 201, `${status}`);
  }
  await until('each has one home', async () => (await homes(pods)).length === 10);
  const [ours, theirs] = await Promise.all(
    [gateway, other].map(async (one) => (await one.ask('GET', '/v1/sessions')).body),
  );
  assert.deepEqual(ours, theirs);
});

test('a session moves when its home dies, clients are told by generation, and the old home yields', async (t) => {
  const { pods, gateway } = await startCluster(t, 2);
  await gateway.ask('PUT', path);
  const { workerBin, log } = await relayWithLog(t);
  const url = gateway.webSocketUrl + path;
  const worker = await createWorker(t, url, { workerBin }, { env: asFromAnotherHost });
  // Sooner than the grace time of 30 s, in which the home might come back.
  const died = event(worker, 'died', { within: 25_000 });
  died.catch(() => {});
  const home = await podOf(pods, worker);
  const [next] = pods.filter((pod) => pod !== home);
  // The home stops answering and is not dead.
  home.kill('SIGSTOP');
  t.after(() => home.kill('SIGCONT'));
  await gateway.statesAre({ [nameOf(home)]: 'silent', [nameOf(next)]: 'ready' });
  // Who names a generation wants no other.
  const gone = await refusal(gateway, { 'mafalda-generation': '1' });
  assert.deepEqual([gone.status, gone.code], [503, 'unreachable']);
  const moved = await gateway.ask('PUT', path);
  assert.deepEqual([moved.status, moved.body.generation], [201, 2]);
  assert.equal(moved.headers.get('mafalda-pod'), nameOf(next));
  assert.equal((await gateway.ask('PUT', path, { generation: 1 })).status, 409);
  const told = await refusal(gateway, { 'mafalda-generation': '1' });
  assert.deepEqual([told.status, told.code], [409, 'otherGeneration']);
  assert.equal(told.headers['mafalda-generation'], '2');
  assert.equal(told.headers['mafalda-pod'], nameOf(next));
  const here = await createWorker(t, gateway.webSocketUrl + path);
  await podOf([next], here);
  // Its relay has heard nothing for 6 s, comes back, and is told.
  await died;
  assert.match(
    await readFile(log, 'utf8'),
    new RegExp(`in generation 2 on ${nameOf(next)} now, and this worker was of generation 1`),
  );
  home.kill('SIGCONT');
  await until('it yields', async () => (await homes(pods)).join() === `2 at ${nameOf(next)}`);
  await here.createRouter();
});

test('an application of a session lives through the death of a gateway', async (t) => {
  const { pods, gateway } = await startCluster(t, 2);
  await gateway.ask('PUT', path);
  const worker = await createWorker(t, gateway.webSocketUrl + path, {}, { env: asFromAnotherHost });
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const traffic = await startTraffic(await worker.createRouter({ mediaCodecs }));
  await traffic.flows('traffic flows', 10);
  await gateway.stop('SIGKILL');
  await startGateway(t, pods, { listen: `127.0.0.1:${gateway.port}`, wait: false });
  await traffic.flows('traffic flows again', 10);
  t.diagnostic(await traffic.stopAndCheck());
  // While the relay reaches somebody: one that does not takes its time.
  const gone = new Promise((resolve) => worker.once('subprocessclose', () => resolve(undefined)));
  worker.close();
  await gone;
});

test('a session goes where nothing drains', async (t) => {
  const { pods, gateway } = await startCluster(t, 2);
  const [first, second] = pods;
  const body = JSON.stringify({ phase: 'cordoned' });
  await fetch(`${first.url}/v1/drain`, { method: 'PUT', body });
  await gateway.statesAre({ [nameOf(first)]: 'draining', [nameOf(second)]: 'ready' });
  assert.equal((await gateway.ask('PUT', path)).headers.get('mafalda-pod'), nameOf(second));
  await fetch(`${second.url}/v1/drain`, { method: 'PUT', body });
  await gateway.statesAre({ [nameOf(first)]: 'draining', [nameOf(second)]: 'draining' });
  const none = await gateway.ask('PUT', '/v1/sessions/other');
  assert.deepEqual([none.status, none.body.error.code], [503, 'noNode']);
  // Who has a session there may come back to it.
  await createWorker(t, gateway.webSocketUrl + path);
  const third = await startVirtualPod(t);
  const wider = await startGateway(t, [...pods, third], { wait: false });
  await until(
    'the new node is used',
    async () => (await wider.ask('PUT', '/v1/sessions/other')).status === 201,
  );
});
