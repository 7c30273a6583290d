// Requests of HTTP that are slow, too long, for nobody or from nowhere: each is refused in its own words,
// and keeps nothing waiting.
import assert from 'node:assert/strict';
import net from 'node:net';
import test from 'node:test';
import { createWorker } from '../../lib/application.js';
import { makeKeys } from '../../lib/keys.js';
import { startPod, startVirtualPod } from '../../lib/pod.js';
import { openRaw, Refused } from '../../lib/raw-connection.js';
import { until } from '../../lib/until.js';

/**
 * Says something to a pod, and hears it out.
 * @param {test.TestContext} t
 * @param {import('../../lib/pod.js').Pod} pod
 * @param {string[]} lines
 */
function say(t, pod, lines) {
  const heard = { text: '', closed: false };
  const socket = net.connect(pod.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.setEncoding('utf8').on('data', (text) => (heard.text += text));
  socket.on('error', () => {}).on('close', () => (heard.closed = true));
  socket.write(lines.join('\r\n') + '\r\n\r\n');
  return heard;
}

/**
 * @param {import('../../lib/pod.js').Pod} pod
 * @param {string} method
 * @param {string} path
 * @param {{ token?: string, body?: string, headers?: Record<string, string> }} [options]
 */
async function ask(pod, method, path, { token, body, headers = {} } = {}) {
  const response = await fetch(pod.url + path, {
    method,
    body,
    headers: { ...(token && { authorization: `Bearer ${token}` }), ...headers },
  });
  const text = await response.text();
  const code = response.ok || !text ? undefined : JSON.parse(text).error.code;
  return { status: response.status, code, text, headers: response.headers };
}

test('a body that does not come is not waited for, and without a token not at all', async (t) => {
  const keys = await makeKeys(t);
  const token = await keys.token({ role: 'operator' });
  const pod = await startVirtualPod(t, { args: [...keys.podArgs(), '--max-connections', '8'] });
  const head = (/** @type {string} */ path) => [
    `PUT ${path} HTTP/1.1`,
    'Host: pod',
    'Content-Length: 10',
  ];
  for (const path of ['/v1/drain', '/v1/peers', '/v1/sessions/call']) {
    const stranger = say(t, pod, head(path));
    await until('the stranger is sent away', () => stranger.closed, { within: 5_000 });
    assert.match(stranger.text, /^HTTP\/1\.1 401 /, path);
    const slow = say(t, pod, [...head(path), `Authorization: Bearer ${token}`]);
    await until('the slow one is sent away', () => slow.closed, { within: 20_000 });
    assert.match(slow.text, /^HTTP\/1\.1 408 [^]*"timeout"/, path);
  }
  // As many as the pod takes, and as many again: it answers others all the while.
  const many = Array.from({ length: 16 }, () => say(t, pod, head('/v1/drain')));
  await until('the pod answers', async () => (await pod.get('/livez')).ok, { within: 5_000 });
  await until('all were sent away', () => many.every(({ closed }) => closed), { within: 5_000 });
});

test('a body may come in parts, and not be too long', async (t) => {
  const pod = await startVirtualPod(t);
  const chunked = say(t, pod, [
    'PUT /v1/drain HTTP/1.1',
    'Host: pod',
    'Connection: close',
    'Transfer-Encoding: chunked',
    '',
    'A',
    '{"phase": ',
    '9',
    '"active"}',
    '0',
  ]);
  await until('an answer', () => chunked.closed);
  assert.match(chunked.text, /^HTTP\/1\.1 200 /);
  const body = JSON.stringify({ phase: 'active', more: 'x'.repeat(64 * 1024) });
  const long = await ask(pod, 'PUT', '/v1/drain', { body });
  assert.deepEqual([long.status, long.code], [413, 'tooLarge']);
  const none = await ask(pod, 'PUT', '/v1/drain');
  assert.deepEqual([none.status, none.code], [400, 'badRequest']);
});

test('another method is refused with those that there are, and HEAD is as good as GET', async (t) => {
  const pod = await startVirtualPod(t);
  for (const [method, path, allowed] of [
    ['POST', '/livez', 'GET, HEAD'],
    ['PUT', '/v1/status', 'GET, HEAD'],
    ['GET', '/v1/drain', 'PUT, DELETE'],
    ['POST', '/v1/sessions/call', 'GET, HEAD, PUT, DELETE'],
    ['POST', '/v1/worker', 'GET'],
    ['DELETE', '/v1/sessions/call/worker', 'GET'],
  ]) {
    const { status, code, headers } = await ask(pod, method, path);
    assert.deepEqual([status, code], [405, 'methodNotAllowed'], `${method} ${path}`);
    assert.equal(headers.get('allow'), allowed, `${method} ${path}`);
  }
  assert.equal((await ask(pod, 'POST', '/nothing')).status, 404);
  for (const path of ['/livez', '/readyz', '/metrics', '/v1/status', '/v1/sessions']) {
    const { status, text } = await ask(pod, 'HEAD', path);
    assert.deepEqual([status, text], [200, ''], path);
  }
});

test('a token for one session opens that session and nothing else, in any role', async (t) => {
  const keys = await makeKeys(t);
  const pod = await startVirtualPod(t, { args: keys.podArgs() });
  const of = (/** @type {string} */ role) => keys.token({ role, more: ['--session', 'call'] });
  const [app, monitor, operator] = [await of('app'), await of('monitor'), await of('operator')];
  const all = await keys.token({ role: 'operator' });
  const body = JSON.stringify({ generation: 1 });
  assert.equal((await ask(pod, 'PUT', '/v1/sessions/other', { token: all, body })).status, 201);
  for (const [method, path, token] of [
    ['GET', '/v1/status', app],
    ['GET', '/v1/topology', app],
    ['GET', '/v1/status', monitor],
    ['GET', '/v1/sessions', monitor],
    ['GET', '/v1/sessions/other', monitor],
    ['GET', '/v1/peers', monitor],
    ['DELETE', '/v1/sessions/other', operator],
    ['DELETE', '/v1/drain', operator],
  ]) {
    const { status, code } = await ask(pod, method, path, { token });
    assert.deepEqual([status, code], [403, 'forbidden'], `${method} ${path}`);
  }
  for (const path of ['/v1/sessions/other', '/v1/drain', '/v1/peers']) {
    const { status } = await ask(pod, 'PUT', path, { token: operator, body });
    assert.equal(status, 403, path);
  }
  await assert.rejects(openRaw(t, pod, { token: monitor, path: '/v1/events' }), isForbidden);
  const elsewhere = { token: app, path: '/v1/sessions/other/worker' };
  await assert.rejects(openRaw(t, pod, elsewhere), isForbidden);
  // Nor by saying that it comes back.
  const headers = { 'mafalda-connection': 'c' };
  await assert.rejects(openRaw(t, pod, { ...elsewhere, headers }), isForbidden);

  const own = '/v1/sessions/call';
  assert.equal((await ask(pod, 'PUT', own, { token: operator, body })).status, 201);
  assert.equal((await ask(pod, 'GET', own, { token: monitor })).status, 200);
  const env = { MAFALDA_TOKEN: app };
  await createWorker(t, `${pod.webSocketUrl}${own}`, {}, { env });
  assert.equal((await ask(pod, 'DELETE', own, { token: operator })).status, 204);
  const lower = { authorization: `bearer ${all}` };
  assert.equal((await ask(pod, 'GET', '/v1/status', { headers: lower })).status, 200);
});

test('a pod without a key answers programs of its host, and no pages of browsers', async (t) => {
  const pod = await startPod(t);
  const headers = { origin: 'https://page.example' };
  for (const path of ['/v1/events', '/v1/worker', '/v1/members']) {
    await assert.rejects(openRaw(t, pod, { path, headers }), isForbidden);
  }
  const socket = say(t, pod, [
    'PUT /v1/drain HTTP/1.1',
    'Host: pod',
    'Origin: https://page.example',
    'Content-Length: 2',
    '',
    '{}',
  ]);
  await until('an answer', () => /\r\n\r\n/.test(socket.text));
  assert.match(socket.text, /^HTTP\/1\.1 403 /);
  assert.equal((await pod.get('/readyz')).status, 200);
});

test('who listens to events is a connection', async (t) => {
  const pod = await startPod(t, { args: ['--max-connections', '4'] });
  const listen = () => openRaw(t, pod, { path: '/v1/events' }).catch(() => undefined);
  /** @type {import('../../lib/raw-connection.js').RawConnection[]} */
  const listeners = [];
  await until('no more are let in', async () => {
    const listener = await listen();
    if (listener) listeners.push(listener);
    return !listener;
  });
  assert.ok(listeners.length > 0 && listeners.length <= 4, `${listeners.length} are let in`);
  listeners[0].socket.terminate();
  await until('another is let in', listen);
});

// Protects a session from a second home: the end of one reaches also who is still about to begin.
test('who was let in to a session that has ended since, gets nothing of it', async (t) => {
  const pod = await startVirtualPod(t);
  const put = (/** @type {number} */ generation) =>
    ask(pod, 'PUT', '/v1/sessions/call', { body: JSON.stringify({ generation }) });
  const path = '/v1/sessions/call/worker';
  assert.equal((await put(1)).status, 201);
  for (const generation of [2, 3]) {
    const late = await openRaw(t, pod, { path });
    assert.equal((await ask(pod, 'DELETE', '/v1/sessions/call')).status, 204);
    // Another of the same name is another.
    assert.equal((await put(generation)).status, 201);
    late.hello({ start: { pid: process.pid, args: [], files: {} } });
    const { code, reason } = await late.isClosed();
    assert.equal(code, 4000);
    assert.match(reason, /session/);
  }
  const { virtualWorkers, sessions } = await pod.status();
  assert.deepEqual(virtualWorkers, []);
  assert.deepEqual([sessions[0].generation, sessions[0].connections], [3, 0]);
  await createWorker(t, `${pod.webSocketUrl}/v1/sessions/call`);
});

/** @param {any} error */
function isForbidden(error) {
  assert.ok(error instanceof Refused, String(error));
  assert.deepEqual([error.status, error.error.code], [403, 'forbidden'], error.message);
  return true;
}
