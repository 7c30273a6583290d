// The conference's server and what the network may send it: an error answer for each bad
// message, and the connection lives on.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import test from 'node:test';
import { WebSocket } from 'ws';
import { makeCertificate } from '../lib/certificate.js';
import { scopeOf } from '../lib/scope.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { event, until } from '../lib/until.js';
import { startConference } from './support/conference.js';

const bad = {
  'no JSON': ['{"id":', 'badMessage'],
  'bytes that are no text': [Buffer.from([0xff, 0x00, 0xfe]), 'badMessage'],
  nothing: ['', 'badMessage'],
  'a number': ['7', 'badRequest'],
  null: ['null', 'badRequest'],
  'an array': ['[]', 'badRequest'],
  'no id': [{ method: 'enter', data: {} }, 'badRequest'],
  'an id that is no number': [{ id: 'x', method: 'enter', data: {} }, 'badRequest'],
  'no data': [{ id: 1, method: 'enter' }, 'badRequest'],
  'no room': [{ id: 1, method: 'enter', data: {} }, 'badRequest'],
  'an endless room': [{ id: 1, method: 'enter', data: { room: 'x'.repeat(65) } }, 'badRequest'],
  'an unknown method': [{ id: 1, method: 'dance', data: {} }, 'badRequest'],
  "an object's own method": [{ id: 1, method: 'toString', data: {} }, 'badRequest'],
  'a prototype': [{ id: 1, method: '__proto__', data: {} }, 'badRequest'],
  'a wrong direction': [
    { id: 1, method: 'createTransport', data: { direction: 'up', tcp: false } },
    'badRequest',
  ],
  'a stranger’s transport': [
    { id: 1, method: 'connectTransport', data: { transportId: 'x', dtlsParameters: {} } },
    'notFound',
  ],
  'joining without capabilities': [{ id: 1, method: 'join', data: { name: 'x' } }, 'badRequest'],
  'producing before joining': [
    { id: 1, method: 'produce', data: { source: 'camera', paused: false, rtpParameters: {} } },
    'badRequest',
  ],
  'a stranger’s consumer': [
    { id: 1, method: 'pauseConsumer', data: { consumerId: 'x' } },
    'notFound',
  ],
};

test('each bad message gets an error answer, and the connection lives on', async (t) => {
  const { url } = await startConference(t);
  const client = await connect(t, url);
  await client.request('enter', { room: 'test' });
  for (const [what, [message, code]] of Object.entries(bad)) {
    await t.test(what, async () => {
      const sent = typeof message === 'object' && !Buffer.isBuffer(message);
      const answer = await client.exchange(sent ? JSON.stringify(message) : message);
      assert.equal(answer.ok, false);
      assert.equal(answer.error.code, code, answer.error.message);
    });
  }
  const answer = await client.request('createTransport', { direction: 'send', tcp: false });
  assert.equal(answer.ok, true, 'after all that a good request is still done');
});

test('parameters that mediasoup refuses get an error answer', async (t) => {
  const { url } = await startConference(t);
  const client = await connect(t, url);
  const { data: room } = await client.request('enter', { room: 'test' });
  const { data: transport } = await client.request('createTransport', {
    direction: 'send',
    tcp: false,
  });
  await client.request('join', { name: 'x', rtpCapabilities: room.routerRtpCapabilities });
  const produce = { source: 'camera', paused: false };
  const transportId = transport.id;
  for (const [method, data] of [
    ['connectTransport', { transportId, dtlsParameters: {} }],
    ['connectTransport', { transportId, dtlsParameters: { fingerprints: [] } }],
    ['connectTransport', { transportId, dtlsParameters: { fingerprints: [{ algorithm: 'x' }] } }],
    ['produce', { ...produce, rtpParameters: {} }],
    ['produce', { ...produce, rtpParameters: { codecs: 'none' } }],
    ['produce', { ...produce, rtpParameters: { codecs: [{ mimeType: 'video/none' }] } }],
    ['openChat', { sctpStreamParameters: { streamId: 'x' } }],
  ]) {
    const answer = await client.request(method, data);
    assert.equal(answer.ok, false, `${method} ${JSON.stringify(data)}`);
  }
});

test('oversized and half messages end their own connection at most', async (t) => {
  const { url, server } = await startConference(t);
  const bystander = await connect(t, url);
  await bystander.request('enter', { room: 'test' });

  const large = await connect(t, url);
  large.socket.send('x'.repeat(1024 * 1024));
  const [code] = await event(large.socket, 'close');
  assert.equal(code, 1009, 'too large, says the close code');

  const rude = await connect(t, url);
  rude.socket._socket.write(Buffer.from([0xff, 0xff, 0xff, 0xff]));
  await event(rude.socket, 'close');

  const half = await connect(t, url);
  half.socket._socket.destroy();

  for (const [method, path, status] of [
    ['GET', '/../server/main.ts', 404],
    ['GET', '/%2e%2e/server/main.ts', 404],
    ['POST', '/', 405],
    ['GET', '/', 200],
  ]) {
    assert.equal(await statusOf(url, method, path), status, `${method} ${path}`);
  }
  assert.equal((await bystander.request('enter', { room: 'test' })).ok, true);
  assert.equal(server.exit, undefined, 'the server runs');
});

test('many who enter and leave one room at once leave nothing behind', async (t) => {
  const { url, pod } = await startConference(t);
  const clients = await Promise.all(Array.from({ length: 20 }, () => connect(t, url)));
  const answers = await Promise.all(clients.map((c) => c.request('enter', { room: 'test' })));
  assert.ok(answers.every(({ ok }) => ok));
  await Promise.all(
    clients.map((c) => c.request('createTransport', { direction: 'send', tcp: false })),
  );
  const transports = async () => {
    const { workers } = await pod.status();
    return workers.map(({ carries }) => carries.routers + carries.transports);
  };
  if (pod) await until('the pod carries them', async () => (await transports()).includes(21));
  for (const { socket } of clients) socket.close();
  if (pod) await until('the pod is empty', async () => (await transports()).every((n) => n === 0));
  const late = await connect(t, url);
  assert.equal((await late.request('enter', { room: 'test' })).ok, true);
});

test('with a certificate it speaks https, as phones need it', async (t) => {
  const { certificate, key } = await makeCertificate(await temporaryDirectory(t));
  const { url } = await startConference(t, { env: { TLS_CERT: certificate, TLS_KEY: key } });
  assert.match(url, /^https:/);
  const ca = readFileSync(certificate);
  const client = await connect(t, url, { ca, checkServerIdentity: () => undefined });
  assert.equal((await client.request('enter', { room: 'test' })).ok, true);
});

/** A client without a browser. */
async function connect(owner, url, options = {}) {
  const socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`, options);
  scopeOf(owner).after(() => socket.terminate());
  await event(socket, 'open');
  socket.on('error', () => {});
  let lastId = 100;
  const client = {
    socket,
    /** Sends a message and gives the next answer (events go by). */
    async exchange(message) {
      socket.send(message);
      for (;;) {
        const [data] = await event(socket, 'message');
        const answer = JSON.parse(String(data));
        if ('ok' in answer) return answer;
      }
    },
    request: (method, data) => client.exchange(JSON.stringify({ id: ++lastId, method, data })),
  };
  return client;
}

function statusOf(url, method, path) {
  return new Promise((resolve, reject) => {
    // As it is written: fetch would tidy the path up.
    const request = httpRequest(url, { method, path }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    request.on('error', reject);
    request.end();
  });
}
