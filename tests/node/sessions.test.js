// The pod's side of sessions: what an operator asks of it.
import assert from 'node:assert/strict';
import test from 'node:test';
import WebSocket from 'ws';
import { createWorker } from '../lib/application.js';
import { startVirtualPod } from '../lib/pod.js';
import { indexOf, mediaCodecs, opus, packet, sendAndAwait } from '../lib/rtp.js';
import { until } from '../lib/until.js';
import { connectClient } from '../lib/webrtc-client.js';

const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/** @param {import('../lib/pod.js').Pod} pod */
function client(pod) {
  /** @param {string} method @param {string} path @param {unknown} [body] */
  return async (method, path, body) => {
    const response = await fetch(pod.url + path, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, body: text ? JSON.parse(text) : undefined };
  };
}

test('each session that was placed here has a worker, also if one application has them all', async (t) => {
  const pod = await startVirtualPod(t, { workers: 1, args: ['--max-workers', '1'] });
  const ask = client(pod);
  for (const name of ['one', 'two', 'three']) {
    const path = `/v1/sessions/${name}`;
    assert.equal((await ask('PUT', path, { generation: 1 })).status, 201);
    const worker = await createWorker(t, pod.webSocketUrl + path);
    await worker.createRouter();
    // One session alone does not get all there is.
    await assert.rejects(createWorker(t, pod.webSocketUrl + path), /code:50/);
  }
  await assert.rejects(createWorker(t, pod), /code:50/);
});

test('a session is made, used, raised and ended; an older generation is refused', async (t) => {
  const pod = await startVirtualPod(t);
  const ask = client(pod);
  const path = '/v1/sessions/call';
  assert.equal((await ask('GET', path)).status, 404);
  const made = await ask('PUT', path, { generation: 2 });
  assert.deepEqual([made.status, made.body.generation, made.body.connections], [201, 2, 0]);
  assert.ok(made.body.emptySince > 0);

  const worker = await createWorker(t, pod.webSocketUrl + path);
  await worker.createRouter();
  const used = await ask('GET', path);
  // An application that is connected is nobody in it.
  assert.deepEqual([used.body.connections, used.body.emptySince], [1, made.body.emptySince]);
  assert.equal(used.body.carries.routers, 1);
  assert.deepEqual((await ask('GET', '/v1/sessions')).body.sessions, [used.body]);

  const older = await ask('PUT', path, { generation: 1 });
  assert.deepEqual([older.status, older.body.error.code], [409, 'olderGeneration']);
  assert.equal((await ask('PUT', path, { generation: 3 })).status, 200);
  assert.equal((await ask('DELETE', `${path}?generation=2`)).status, 409);
  // Raising the generation is no end.
  await worker.dump();

  const died = new Promise((resolve) => worker.once('died', resolve));
  assert.equal((await ask('DELETE', `${path}?generation=3`)).status, 204);
  await died;
  assert.equal((await ask('PUT', path, { generation: 2 })).status, 409, 'it is remembered');
  await assert.rejects(createWorker(t, pod.webSocketUrl + path));
});

test('who is in a session is counted by transports, and it is empty when there are none', async (t) => {
  const pod = await startVirtualPod(t);
  const ask = client(pod);
  const path = '/v1/sessions/call';
  await ask('PUT', path, { generation: 1 });
  const worker = await createWorker(t, pod.webSocketUrl + path);
  const router = await worker.createRouter();
  /** @param {number} participants @param {boolean} empty */
  const is = (participants, empty) =>
    until(`${participants} participants`, async () => {
      const { body } = await ask('GET', path);
      return body.participants === participants && (body.emptySince !== null) === empty;
    });
  await is(0, true);
  const plain = await router.createPlainTransport({ listenInfo: listenInfos[0] });
  await is(0, false);
  const [first, second] = [
    await router.createWebRtcTransport({ listenInfos }),
    await router.createWebRtcTransport({ listenInfos }),
  ];
  await is(1, false);
  const third = await router.createWebRtcTransport({ listenInfos });
  await is(2, false);
  plain.close();
  first.close();
  await is(1, false);
  second.close();
  third.close();
  await is(0, true);
  await router.createWebRtcTransport({ listenInfos });
  await is(1, false);
  router.close();
  await is(0, true);
  await (await worker.createRouter()).createWebRtcTransport({ listenInfos });
  await is(1, false);
  worker.close();
  await is(0, true);
});

test('a participant past the limit is refused, the others go on, and a higher limit lets it in', async (t) => {
  const pod = await startVirtualPod(t, { workers: 2 });
  const ask = client(pod);
  const path = '/v1/sessions/call';
  const limited = await ask('PUT', path, { generation: 1, maxParticipants: 2 });
  assert.deepEqual([limited.body.maxParticipants, limited.body.participants], [2, 0]);
  const join = async () => {
    const worker = await createWorker(t, pod.webSocketUrl + path);
    const router = await worker.createRouter({ mediaCodecs });
    return { router, transport: () => router.createWebRtcTransport({ listenInfos }) };
  };
  // The limit is the session's: two applications have it together.
  const [here, there] = [await join(), await join()];
  const [from, to] = [await here.transport(), await here.transport()];
  const [sender, receiver] = await Promise.all([connectClient(t, from), connectClient(t, to)]);
  const producer = await from.produce({ kind: 'audio', rtpParameters: opus(1111) });
  await to.consume({ producerId: producer.id, rtpCapabilities: here.router.rtpCapabilities });
  /** @type {number[]} */
  const received = [];
  receiver.onRtp = ({ payload }) => received.push(indexOf(payload));
  await there.transport();
  await there.transport();

  const refused = /session call has 4 WebRtcTransports.* limit of 2 participants.*maxParticipants/;
  for (const { transport } of [here, there]) await assert.rejects(transport(), refused);
  // So many at once are refused one by one; what is no participant's is not counted.
  const crowd = await Promise.allSettled(Array.from({ length: 20 }, () => there.transport()));
  assert.ok(crowd.every(({ status }) => status === 'rejected'));
  await there.router.createPlainTransport({ listenInfo: listenInfos[0] });
  await sendAndAwait(200, (i) => sender.sendRtp(packet(1111, i)), received);
  assert.equal((await ask('GET', path)).body.participants, 2);

  // The generation stays.
  const raised = await ask('PUT', path, { generation: 1, maxParticipants: 3 });
  assert.deepEqual([raised.status, raised.body.maxParticipants], [200, 3]);
  const [fifth] = [await there.transport(), await there.transport()];
  await assert.rejects(here.transport(), /6 WebRtcTransports.* limit of 3 participants/);
  // A lower limit sends nobody away.
  await ask('PUT', path, { generation: 1, maxParticipants: 1 });
  assert.equal((await ask('GET', path)).body.participants, 3);
  fifth.close();
  await assert.rejects(there.transport(), /5 WebRtcTransports.* limit of 1 participants/);
  assert.equal(from.closed || to.closed, false);
});

test('a participant who leaves makes room for the next at once', async (t) => {
  const pod = await startVirtualPod(t);
  const path = '/v1/sessions/call';
  await client(pod)('PUT', path, { generation: 1, maxParticipants: 1 });
  const worker = await createWorker(t, pod.webSocketUrl + path);
  const router = await worker.createRouter({ mediaCodecs });
  const transport = () => router.createWebRtcTransport({ listenInfos });
  await transport();
  for (let i = 0; i < 20; i++) {
    // The end of the last one is not waited for.
    const last = await transport();
    last.close();
  }
  await transport();
  await assert.rejects(transport(), /2 WebRtcTransports/);
});

test('a drained pod keeps what it has and takes nothing new, until that is taken back', async (t) => {
  const pod = await startVirtualPod(t);
  const ask = client(pod);
  await ask('PUT', '/v1/sessions/here', { generation: 1 });
  const worker = await createWorker(t, `${pod.webSocketUrl}/v1/sessions/here`);
  const drained = await ask('PUT', '/v1/drain', { phase: 'draining', deadlineSeconds: 60 });
  assert.equal(drained.body.phase, 'draining');
  assert.ok(Math.abs(drained.body.deadline - Date.now() / 1000 - 60) < 5);
  assert.equal((await pod.get('/readyz')).status, 503);
  assert.equal(
    (await ask('PUT', '/v1/sessions/new', { generation: 1 })).body.error.code,
    'draining',
  );
  await assert.rejects(createWorker(t, pod));
  await worker.createRouter();
  // An application of a session that is here may come back to it.
  await createWorker(t, `${pod.webSocketUrl}/v1/sessions/here`);
  assert.equal((await ask('DELETE', '/v1/drain')).body.phase, 'active');
  assert.equal((await pod.get('/readyz')).status, 200);
  assert.equal((await ask('PUT', '/v1/sessions/new', { generation: 1 })).status, 201);
});

test('events tell of a change at once, and that the pod lives', async (t) => {
  const pod = await startVirtualPod(t);
  const socket = new WebSocket(`${pod.webSocketUrl}/v1/events`);
  t.after(() => socket.terminate());
  /** @type {any[]} */
  const told = [];
  socket.on('message', (text) => told.push(JSON.parse(String(text))));
  await until('the first event', () => told.length > 0);
  assert.equal(told[0].type, 'status');
  const begin = Date.now();
  await client(pod)('PUT', '/v1/sessions/call', { generation: 1 });
  await until('the session', () => told.at(-1).status.sessions.length === 1);
  assert.ok(Date.now() - begin < 900, 'sooner than the next second');
  const before = told.length;
  await until('a sign of life', () => told.length > before);
});

test('wrong requests are refused with a reason', async (t) => {
  const pod = await startVirtualPod(t);
  const ask = client(pod);
  for (const [method, path, body, what] of /** @type {[string, string, unknown, RegExp][]} */ ([
    ['PUT', '/v1/sessions/A', { generation: 1 }, /name/],
    ['PUT', '/v1/sessions/a', { generation: 0 }, /generation/],
    ['PUT', '/v1/sessions/a', {}, /generation/],
    ['PUT', '/v1/sessions/a', { generation: 'one' }, /invalid type/],
    ['PUT', '/v1/sessions/a', { generation: 1, colour: 1 }, /colour/],
    ['PUT', '/v1/sessions/a', { generation: 1, maxParticipants: -1 }, /maxParticipants|-1/],
    ['DELETE', '/v1/sessions/a?generation=x', undefined, /query/],
    ['PUT', '/v1/drain', { phase: 'tired' }, /tired/],
    ['PUT', '/v1/drain', { phase: 'draining', deadlineSeconds: 1e9 }, /deadlineSeconds/],
  ])) {
    const answer = await ask(method, path, body);
    assert.equal(answer.status, 400, `${method} ${path}`);
    assert.match(answer.body.error.message, what);
  }
  await createWorker(t, pod);
});
