// Pods that lend each other workers outside Kubernetes, with TLS and tokens; and who may not.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import https from 'node:https';
import path from 'node:path';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { makeAuthority } from '../lib/certificate.js';
import { flowThrough } from '../lib/flow.js';
import { makeKeys } from '../lib/keys.js';
import { Pod, startVirtualPod } from '../lib/pod.js';
import { mediaPorts } from '../lib/ports.js';
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';
import { openRaw, Refused } from '../lib/raw-connection.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { until } from '../lib/until.js';

/**
 * An answer over TLS of an authority of one's own, which `fetch` does not take.
 * @param {string} url
 * @param {{ ca: string, token?: string, method?: string, body?: unknown }} options
 * @returns {Promise<Response>}
 */
function ask(url, { ca, token, method = 'GET', body }) {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = {
    'content-length': Buffer.byteLength(text),
    ...(token && { authorization: `Bearer ${token}` }),
  };
  return new Promise((resolve, reject) => {
    const options = { method, headers, ca: readFileSync(ca), agent: false };
    const request = https.request(url, options, async (response) => {
      let said = '';
      for await (const part of response.setEncoding('utf8')) said += part;
      resolve(new Response(said, { status: response.statusCode }));
    });
    request.once('error', reject).end(text);
  });
}

/**
 * Two pods with TLS and one key: `home` is told that `lender` lends.
 * @param {test.TestContext} t
 * @param {{ token?: (keys: import('../lib/keys.js').Keys) => Promise<string>, ca?: string }} [shows]
 *   the token that `home` shows, of role `pod` unless told, and whom it trusts
 */
async function startPair(t, { token, ca } = {}) {
  const directory = await temporaryDirectory(t);
  const keys = await makeKeys(t);
  const tls = makeAuthority(directory, 'IP:127.0.0.1');
  const file = path.join(directory, 'peer.token');
  const shown = await (token ? token(keys) : keys.token({ role: 'pod' }));
  await writeFile(file, `${shown}\n`);
  const [monitor, operator] = [
    await keys.token({ role: 'monitor' }),
    await keys.token({ role: 'operator' }),
  ];
  const startOne = async (/** @type {string} */ name) => {
    const ports = await mediaPorts();
    const running = start(t, program('mafalda'), [
      ...['serve', '--listen', '127.0.0.1:0', '--workers', '1', '--placement', 'spread'],
      ...['--rtc-port', String(ports.rtcPort), '--rtc-port-range', ports.rtcPortRange],
      ...['--pod-name', name, ...keys.podArgs()],
      ...['--peer-token', file, '--peer-ca', ca ?? tls.ca],
      ...['--tls-cert', tls.certificate, '--tls-key', tls.key],
    ]);
    const [, url] = await running.says(/listening on (https:\/\/[^\s"]+)/);
    const pod = new Pod(running, url, ports, (url) => ask(url, { ca: tls.ca, token: monitor }));
    await until('the pod is ready', async () => (await pod.get('/readyz')).ok);
    return pod;
  };
  const [home, lender] = [await startOne('home'), await startOne('lender')];
  const body = { pods: [{ name: 'lender', url: lender.webSocketUrl }] };
  const told = await ask(`${home.url}/v1/peers`, {
    ...{ ca: tls.ca, token: operator, method: 'PUT', body },
  });
  assert.equal(told.status, 200);
  return {
    home,
    lender,
    shown,
    env: { MAFALDA_TOKEN: await keys.token(), MAFALDA_CA: tls.ca },
    /** How it stands with the lender. */
    state: async () => (await (await home.get('/v1/peers')).json()).pods[0],
  };
}

// Protects clusters without Kubernetes: what docs/cluster.md tells to set is what makes nodes lend.
test('with TLS and a token of role pod, a pod outside Kubernetes borrows', async (t) => {
  const { home, lender, env, state, shown } = await startPair(t);
  await until('it is connected', async () => (await state()).connected);
  const worker = await createWorker(t, home, {}, { env });
  const router = await worker.createRouter({ mediaCodecs });
  const call = await flowThrough(t, router, { ssrc: 1111, rtpParameters: opus(1111), interval: 5 });
  await until('media flows', async () => (await call.flow.report()).received > 100);
  const { lost, doubled } = await call.flow.report();
  assert.deepEqual({ lost, doubled }, { lost: [], doubled: 0 });
  const { workers, connections, borrowers } = await lender.status();
  assert.equal(workers[0].carries.transports, 2, 'one end of the call, and of the pipe');
  assert.deepEqual([connections, borrowers], [{ attached: 1, detached: 0, lent: 1 }, 1]);
  assert.equal((await home.status()).connections.lent, 0, "an application's own is not lent");
  for (const { logs } of [home, lender]) assert.ok(!logs.includes(shown), 'the token is a secret');
});

for (const [what, shows, problem] of /** @type {const} */ ([
  ['another cluster', { cluster: 'elsewhere', role: 'pod' }, /unauthorized/],
  ['role monitor', { role: 'monitor' }, /forbidden/],
  ['role participant', { role: 'participant' }, /forbidden/],
])) {
  test(`a pod with a token of ${what} borrows nothing, and says why`, async (t) => {
    const { home, lender, env, state } = await startPair(t, {
      token: (keys) => keys.token({ ...shows }),
    });
    await until('it is refused', async () => problem.test((await state()).problem ?? ''));
    const router = await (await createWorker(t, home, {}, { env })).createRouter();
    for (let i = 0; i < 3; i++) await router.createDirectTransport();
    const { workers, connections } = await lender.status();
    assert.equal(workers[0].carries.transports, 0);
    assert.equal(connections.attached, 0);
  });
}

test('a pod does not show its token to who is certified by a stranger', async (t) => {
  const stranger = makeAuthority(await temporaryDirectory(t), 'IP:127.0.0.1');
  const { lender, state } = await startPair(t, { ca: stranger.ca });
  await until('it is not trusted', async () => /certificate/i.test((await state()).problem ?? ''));
  assert.equal((await lender.status()).connections.attached, 0);
});

// Protects a pod's workers and its list of lenders from tokens that are for something else.
test('who may borrow, and who may say who lends', async (t) => {
  const keys = await makeKeys(t);
  const others = await makeKeys(t);
  const token = await keys.token({ role: 'monitor' });
  const pod = await startVirtualPod(t, { args: keys.podArgs(), token });
  const app = () => keys.token();
  const ofPod = () => keys.token({ role: 'pod' });
  const operator = () => keys.token({ role: 'operator' });
  const bound = () => keys.token({ more: ['--session', 'call'] });

  /** @param {string | undefined} token @returns {Promise<string>} */
  const borrow = async (token) => {
    const path = '/v1/members';
    const opened = openRaw(t, pod, { token, path });
    return opened.then(
      (raw) => raw.giveUp().then(() => 'ok'),
      (error) => {
        assert.ok(error instanceof Refused, String(error));
        return `${error.status} ${error.error.code}`;
      },
    );
  };
  for (const [who, makeToken, expected] of /** @type {[string, () => any, string][]} */ ([
    ['nobody', () => undefined, '401 unauthorized'],
    ['garbage', () => 'garbage', '401 unauthorized'],
    [
      'a pod of another cluster',
      () => keys.token({ role: 'pod', cluster: 'b' }),
      '401 unauthorized',
    ],
    ['a pod by another key', () => others.token({ role: 'pod' }), '401 unauthorized'],
    ['a monitor', () => token, '403 forbidden'],
    ['a participant', () => keys.token({ role: 'participant' }), '403 forbidden'],
    ['an application of one session', bound, '403 forbidden'],
    ['a pod', ofPod, 'ok'],
    ['an application', app, 'ok'],
    ['an operator', operator, 'ok'],
  ])) {
    await t.test(`/v1/members: ${who}`, async () => {
      assert.equal(await borrow(await makeToken()), expected);
    });
  }
  await until('nothing is left', async () => (await pod.status()).connections.attached === 0);

  const request = async (
    /** @type {string} */ method,
    /** @type {string} */ path,
    /** @type {string | undefined} */ token,
  ) => {
    const response = await fetch(pod.url + path, {
      method,
      headers: token ? { authorization: `Bearer ${token}` } : {},
      body: method === 'PUT' ? JSON.stringify({ pods: [] }) : undefined,
    });
    return response.status;
  };
  for (const [
    who,
    makeToken,
    read,
    write,
  ] of /** @type {[string, () => any, number, number][]} */ ([
    ['nobody', () => undefined, 401, 401],
    [
      'an operator of another cluster',
      () => keys.token({ role: 'operator', cluster: 'b' }),
      401,
      401,
    ],
    ['an application', app, 403, 403],
    ['a pod', ofPod, 403, 403],
    ['a participant', () => keys.token({ role: 'participant' }), 403, 403],
    ['a monitor', () => token, 200, 403],
    ['an operator', operator, 200, 200],
  ])) {
    await t.test(`/v1/peers: ${who}`, async () => {
      const token = await makeToken();
      assert.equal(await request('GET', '/v1/peers', token), read);
      assert.equal(await request('PUT', '/v1/peers', token), write);
    });
  }

  await t.test('a token of role pod opens nothing else', async (t) => {
    const token = await ofPod();
    for (const [method, path] of [
      ['GET', '/v1/status'],
      ['GET', '/v1/topology'],
      ['GET', '/v1/sessions'],
      ['GET', '/v1/sessions/call'],
      ['PUT', '/v1/sessions/call'],
      ['DELETE', '/v1/sessions/call'],
      ['PUT', '/v1/drain'],
      ['DELETE', '/v1/drain'],
      ['GET', '/v1/peers'],
      ['PUT', '/v1/peers'],
    ]) {
      assert.equal(await request(method, path, token), 403, `${method} ${path}`);
    }
    for (const path of [
      '/v1/worker',
      '/v1/worker/real',
      '/v1/worker/virtual',
      '/v1/sessions/call/worker',
      '/v1/events',
    ]) {
      await assert.rejects(openRaw(t, pod, { token, path }), (error) => {
        assert.ok(error instanceof Refused, String(error));
        assert.equal(error.status, 403, path);
        return true;
      });
    }
  });
});
