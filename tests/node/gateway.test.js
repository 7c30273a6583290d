// One endpoint for many pods: where workers go, and what each fault costs.
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { asFromAnotherHost, createWorker } from '../lib/application.js';
import { nameOf, podOf, startCluster, startGateway } from '../lib/gateway.js';
import { makeAuthority } from '../lib/certificate.js';
import { makeKeys } from '../lib/keys.js';
import { startVirtualPod } from '../lib/pod.js';
import { openRaw, Refused } from '../lib/raw-connection.js';
import { mediaCodecs } from '../lib/rtp.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { startTraffic } from '../lib/traffic.js';
import { until } from '../lib/until.js';

/**
 * The pods that new workers go to.
 * @param {import('node:test').TestContext} t
 * @param {import('../lib/gateway.js').Gateway} gateway
 * @param {import('../lib/pod.js').Pod[]} pods
 * @param {number} count
 */
async function placed(t, gateway, pods, count) {
  const names = [];
  for (let i = 0; i < count; i++) {
    names.push(nameOf(await podOf(pods, await createWorker(t, gateway))));
  }
  return names;
}

/**
 * Closes a worker while a relay reaches somebody: one that does not takes its time.
 * @param {import('mediasoup').types.Worker} worker
 */
async function closed(worker) {
  const gone = new Promise((resolve) => worker.once('subprocessclose', () => resolve(undefined)));
  worker.close();
  await gone;
}

/** @param {Promise<unknown>} promise @returns {Promise<Refused>} */
async function refused(promise) {
  const error = await promise.then(
    () => assert.fail('it was let in'),
    (error) => error,
  );
  assert.ok(error instanceof Refused, error.stack);
  return error;
}

test('workers are packed on one node, or spread over all', async (t) => {
  const { pods, gateway } = await startCluster(t, 3);
  const packed = await placed(t, gateway, pods, 3);
  assert.equal(new Set(packed).size, 1, packed.join(' '));
  // A flag for each node is as good as one for all.
  const flags = pods.flatMap((pod) => ['--node', pod.webSocketUrl]);
  const spreading = await startGateway(t, [], { args: [...flags, '--placement', 'spread'] });
  await spreading.statesAre(Object.fromEntries(pods.map((pod) => [nameOf(pod), 'ready'])));
  const spread = await placed(t, spreading, pods, 3);
  assert.equal(new Set(spread).size, 3, spread.join(' '));
  const { body } = await gateway.ask('GET', '/v1/status');
  assert.equal(body.connections, 3);
  const { text } = await gateway.ask('GET', '/metrics');
  assert.match(text, /mafalda_gateway_placements_total\{kind="worker"\} 3/);
  assert.match(text, /mafalda_gateway_nodes\{state="ready"\} 3/);
  assert.match(text, /mafalda_gateway_passed_bytes_total\{direction="to_node"\} [1-9]/);
});

test('the kind of worker that is asked for is what the node gives', async (t) => {
  const { pods, gateway } = await startCluster(t, 1);
  const real = await createWorker(t, `${gateway.webSocketUrl}/v1/worker/real`);
  const { workers, virtualWorkers } = await pods[0].status();
  assert.deepEqual(virtualWorkers, []);
  assert.ok(workers.some(({ connection }) => connection?.applicationPid === real.pid));
});

test('nodes come and go by a file while calls run', async (t) => {
  const [first, second] = [await startVirtualPod(t), await startVirtualPod(t)];
  const file = path.join(await temporaryDirectory(t), 'nodes');
  const write = (/** @type {import('../lib/pod.js').Pod[]} */ ...pods) =>
    writeFile(file, ['# nodes', '', ...pods.map((pod) => pod.webSocketUrl), ''].join('\n'));
  await write(first);
  const gateway = await startGateway(t, [], { args: ['--nodes-file', file] });
  const worker = await createWorker(t, gateway, {}, { env: asFromAnotherHost });
  const traffic = await startTraffic(await worker.createRouter({ mediaCodecs }));
  await write(second);
  await gateway.statesAre({ [nameOf(second)]: 'ready' });
  await podOf([second], await createWorker(t, gateway));
  await traffic.flows('the call on the node that is not listed any more', 20);
  await writeFile(file, 'ws://host/with/path\n');
  await gateway.program.says(/line 1: .*there is more than host and port/);
  assert.deepEqual(await gateway.states(), { [nameOf(second)]: 'ready' });
  t.diagnostic(await traffic.stopAndCheck());
});

test('all addresses of a name are nodes', async (t) => {
  const pod = await startVirtualPod(t, { listen: '127.0.0.1:0' });
  const gateway = await startGateway(t, [], { args: ['--nodes-dns', `localhost:${pod.port}`] });
  await until('it answers', async () => (await gateway.states())[nameOf(pod)] === 'ready');
  await createWorker(t, gateway);
});

test('a node that drains or is full is passed over, and the last refusal is told', async (t) => {
  const { pods, gateway } = await startCluster(t, 2, { podArgs: ['--max-workers', '1'] });
  const drain = (/** @type {import('../lib/pod.js').Pod} */ pod, /** @type {string} */ method) =>
    fetch(`${pod.url}/v1/drain`, { method, body: JSON.stringify({ phase: 'draining' }) });
  const [full, other] = pods;
  await drain(other, 'PUT');
  await gateway.statesAre({ [nameOf(full)]: 'ready', [nameOf(other)]: 'draining' });
  await podOf([full], await createWorker(t, gateway));
  const none = await refused(openRaw(t, gateway));
  assert.deepEqual([none.status, none.error.code], [429, 'tooManyWorkers']);
  await drain(other, 'DELETE');
  await gateway.statesAre({ [nameOf(full)]: 'ready', [nameOf(other)]: 'ready' });
  await podOf([other], await createWorker(t, gateway));
});

test('a node that is killed loses its own workers alone, and is used again when it is back', async (t) => {
  const { pods, gateway } = await startCluster(t, 2, { args: ['--placement', 'spread'] });
  const workers = [];
  for (let i = 0; i < 2; i++) {
    workers.push(await createWorker(t, gateway, {}, { env: asFromAnotherHost }));
  }
  const lost = await podOf(pods, workers[0]);
  const [kept] = pods.filter((pod) => pod !== lost);
  await podOf([kept], workers[1]);
  const traffic = await startTraffic(await workers[1].createRouter({ mediaCodecs }));
  const { port } = lost;
  const begin = performance.now();
  lost.kill('SIGKILL');
  await gateway.statesAre({ [nameOf(lost)]: 'silent', [nameOf(kept)]: 'ready' });
  t.diagnostic(`known after ${Math.round(performance.now() - begin)} ms`);
  await podOf([kept], await createWorker(t, gateway));
  const back = await startVirtualPod(t, { listen: `127.0.0.1:${port}` });
  await gateway.statesAre({ [nameOf(back)]: 'ready', [nameOf(kept)]: 'ready' });
  await podOf([back], await createWorker(t, gateway));
  // The new pod does not know the connection, so that the application hears of it.
  if (!workers[0].died) await new Promise((resolve) => workers[0].once('died', resolve));
  t.diagnostic(await traffic.stopAndCheck());
});

test('a gateway that is killed costs a running application no more than a new socket', async (t) => {
  const { pods, gateway } = await startCluster(t, 3, { args: ['--placement', 'spread'] });
  const workers = [];
  for (let i = 0; i < 3; i++) {
    workers.push(await createWorker(t, gateway, {}, { env: asFromAnotherHost }));
  }
  for (const worker of workers) {
    worker.on('died', (error) => assert.fail(`a worker died: ${error.message}`));
  }
  const traffics = [];
  for (const worker of workers) {
    traffics.push(await startTraffic(await worker.createRouter({ mediaCodecs })));
  }
  let current = gateway;
  for (let i = 0; i < 3; i++) {
    await current.stop('SIGKILL');
    current = await startGateway(t, pods, { listen: `127.0.0.1:${gateway.port}`, wait: false });
    const begin = performance.now();
    for (const traffic of traffics) await traffic.flows('traffic flows again', 10);
    t.diagnostic(`traffic again ${Math.round(performance.now() - begin)} ms after the start`);
  }
  for (const traffic of traffics) t.diagnostic(await traffic.stopAndCheck());
  const { text } = await current.ask('GET', '/metrics');
  assert.match(text, /mafalda_gateway_resumes_total 3/);
  await Promise.all(workers.map(closed));
});

test('another replica takes connections over, also of clients that do not say their pod', async (t) => {
  const { pods, gateway } = await startCluster(t, 3);
  const second = await startGateway(t, pods);
  const first = await openRaw(t, gateway);
  first.hello({ start: { pid: process.pid, args: [], files: {} } });
  const welcome = JSON.parse(await until('the welcome', () => first.texts[0]));
  first.socket.terminate();
  const resumed = await openRaw(t, second, {
    headers: { 'mafalda-connection': welcome.connection },
  });
  resumed.hello({ resume: { key: welcome.key, received: 0 } });
  const again = JSON.parse(await until('the welcome', () => resumed.texts[0]));
  assert.equal(again.connection, welcome.connection);
  const unknown = await refused(
    openRaw(t, second, { headers: { 'mafalda-connection': 'ffffff', 'mafalda-pod': 'gone' } }),
  );
  assert.deepEqual([unknown.status, unknown.error.code], [404, 'unknownConnection']);
  await resumed.giveUp();
});

test('tokens are asked for at the gateway and passed on', async (t) => {
  const keys = await makeKeys(t);
  const tls = makeAuthority(await temporaryDirectory(t), 'IP:127.0.0.1');
  const [token, operator] = [await keys.token(), await keys.token({ role: 'operator' })];
  const { pods, gateway } = await startCluster(t, 1, {
    podArgs: keys.podArgs(),
    args: [...keys.podArgs(), '--signing-key', keys.privateKey],
    token: operator,
  });
  await createWorker(t, gateway, {}, { env: { MAFALDA_TOKEN: token } });
  for (const [wrong, status] of /** @type {[string | undefined, number][]} */ ([
    [undefined, 401],
    ['garbage', 401],
    [await keys.token({ cluster: 'other' }), 401],
    [await (await makeKeys(t)).token(), 401],
    [await keys.token({ role: 'monitor' }), 403],
    [await keys.token({ more: ['--session', 'call'] }), 403],
  ])) {
    const { connections } = await pods[0].status();
    assert.equal((await refused(openRaw(t, gateway, { token: wrong }))).status, status);
    assert.deepEqual((await pods[0].status()).connections, connections);
  }
  assert.equal((await fetch(`${gateway.url}/v1/status`)).status, 401);
  // With TLS, and with a token that it was given.
  const secure = await startGateway(t, pods, {
    args: [
      ...[...keys.podArgs(), '--token', operator],
      ...['--tls-cert', tls.certificate, '--tls-key', tls.key],
    ],
    wait: false,
  });
  await createWorker(t, secure, {}, { env: { MAFALDA_TOKEN: token, MAFALDA_CA: tls.ca } });
});

test('versions that no node serves, paths and methods that are not there are refused', async (t) => {
  const { gateway } = await startCluster(t, 1);
  const old = await refused(openRaw(t, gateway, { version: '3.0.0' }));
  assert.deepEqual([old.status, old.error.code], [409, 'versionMismatch']);
  assert.match(old.error.message, /3\.0\.0.*3\.27\.1/);
  for (const [method, path, status, code] of /** @type {[string, string, number, string][]} */ ([
    ['GET', '/nothing', 404, 'notFound'],
    ['PUT', '/v1/drain', 404, 'notFound'],
    ['POST', '/v1/worker', 405, 'methodNotAllowed'],
    ['DELETE', '/v1/sessions/none/worker', 405, 'methodNotAllowed'],
    ['DELETE', '/v1/sessions/none/', 404, 'unknownSession'],
    ['PUT', '/v1/sessions/No/', 400, 'badRequest'],
    ['GET', '/v1/sessions/none', 404, 'unknownSession'],
    ['PUT', '/v1/sessions/No', 400, 'badRequest'],
  ])) {
    const answer = await gateway.ask(method, path, method === 'PUT' ? {} : undefined);
    assert.deepEqual([answer.status, answer.body.error.code], [status, code], path);
  }
  // The node's own word, passed on.
  assert.equal((await gateway.ask('GET', '/v1/worker')).status, 400);
});

test('without a node it lives, is not ready and says so', async (t) => {
  const pod = await startVirtualPod(t);
  await pod.stop();
  const gateway = await startGateway(t, [pod], { wait: false });
  assert.equal((await gateway.ask('GET', '/livez')).status, 200);
  assert.equal((await gateway.ask('GET', '/readyz')).status, 503);
  const none = await refused(openRaw(t, gateway));
  assert.deepEqual([none.status, none.error.code], [503, 'noNode']);
  const resumes = { 'mafalda-connection': 'c', 'mafalda-pod': nameOf(pod) };
  const away = await refused(openRaw(t, gateway, { headers: resumes }));
  assert.deepEqual([away.status, away.error.code], [503, 'unreachable']);
});

test('it has limits, and nothing from the network ends it', async (t) => {
  const { gateway } = await startCluster(t, 1, { args: ['--max-connections', '3'] });
  const { default: net } = await import('node:net');
  const socket = async (/** @type {string | Buffer} */ bytes) => {
    const open = net.connect(gateway.port, '127.0.0.1');
    t.after(() => open.destroy());
    let said = '';
    open.setEncoding('utf8').on('data', (text) => (said += text));
    open.on('error', () => {});
    open.write(bytes);
    return { open, said: () => said };
  };
  for (const bytes of [
    Buffer.from([0, 255, 1, 254]),
    'GET / HTTP/9.9\r\n\r\n',
    `GET /v1/worker HTTP/1.1\r\nhost: a\r\nx: ${'y'.repeat(100_000)}\r\n\r\n`,
    'GET /v1/worker HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n',
    'PUT /v1/sessions/a HTTP/1.1\r\nhost: a\r\ncontent-length: 999999\r\n\r\n' + '{'.repeat(70_000),
    'PUT /v1/sessions/a HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n[]',
  ]) {
    const { open, said } = await socket(bytes);
    await until('it answers or closes', () => said().length > 0 || open.closed);
    assert.doesNotMatch(said(), /^HTTP\/1.1 (2|101)/);
    open.destroy();
  }
  await until('it takes connections again', async () => {
    return (await gateway.ask('GET', '/livez')).status === 200;
  });
  const held = [];
  for (let i = 0; i < 3; i++) held.push(await socket('GET /livez HTTP/1.1\r\n'));
  await until('one more is turned away', async () => {
    const { open, said } = await socket('');
    await until('it is told', () => said().length > 0 || open.closed);
    return said().includes('tooManyConnections');
  });
  for (const { open } of held) open.destroy();
  await until('there is room again', async () => {
    return (await gateway.ask('GET', '/livez')).status === 200;
  });
  assert.equal(gateway.program.exit, undefined);
});
