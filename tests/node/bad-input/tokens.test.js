// Who may connect, and what the others are told.
import assert from 'node:assert/strict';
import { createPrivateKey, sign } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import test from 'node:test';
import { createWorker } from '../../lib/application.js';
import { makeKeys } from '../../lib/keys.js';
import { startPod } from '../../lib/pod.js';
import { start } from '../../lib/process.js';
import { program } from '../../lib/programs.js';
import { openRaw, Refused, startRaw } from '../../lib/raw-connection.js';
import { until } from '../../lib/until.js';

/**
 * A token by hand: EdDSA over base64url, as RFC 8037 has it.
 * @param {string} privateKeyFile
 * @param {object} claims
 * @param {object} [header]
 */
function jwt(privateKeyFile, claims, header = { typ: 'JWT', alg: 'EdDSA' }) {
  const part = (/** @type {object} */ value) =>
    Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part(header)}.${part(claims)}`;
  const key = createPrivateKey(readFileSync(privateKeyFile));
  return `${text}.${sign(null, Buffer.from(text), key).toString('base64url')}`;
}

const now = () => Math.floor(Date.now() / 1000);
const good = () => ({ aud: 'test', role: 'app', session: '*', exp: now() + 60 });

test('tokens', async (t) => {
  const keys = await makeKeys(t);
  const others = await makeKeys(t);
  const pod = await startPod(t, { args: keys.podArgs() });

  await t.test('a good one is let in, from the program and by hand', async (t) => {
    for (const token of [await keys.token(), jwt(keys.privateKey, good())]) {
      const worker = await createWorker(t, pod, {}, { env: { MAFALDA_TOKEN: token } });
      await worker.dump();
    }
  });

  /** @type {[string, () => string | undefined | Promise<string>, number, string][]} */
  const cases = [
    ['none', () => undefined, 401, 'unauthorized'],
    ['empty', () => ' ', 401, 'unauthorized'],
    ['no token at all', () => 'garbage', 401, 'unauthorized'],
    ['three empty parts', () => '..', 401, 'unauthorized'],
    ['one signed by another key', () => others.token(), 401, 'unauthorized'],
    [
      'an expired one',
      () => jwt(keys.privateKey, { ...good(), exp: now() - 60 }),
      401,
      'unauthorized',
    ],
    [
      'one without an end',
      () => jwt(keys.privateKey, { ...good(), exp: undefined }),
      401,
      'unauthorized',
    ],
    [
      'one without a cluster',
      () => jwt(keys.privateKey, { ...good(), aud: undefined }),
      401,
      'unauthorized',
    ],
    ['one for another cluster', () => keys.token({ cluster: 'elsewhere' }), 401, 'unauthorized'],
    ['"alg": "none"', () => unsigned(good()), 401, 'unauthorized'],
    [
      'one that was changed',
      () => changed(jwt(keys.privateKey, { ...good(), role: 'monitor' })),
      401,
      'unauthorized',
    ],
    ["a participant's", () => keys.token({ role: 'participant' }), 403, 'forbidden'],
    ["a monitor's", () => keys.token({ role: 'monitor' }), 403, 'forbidden'],
    ['64 KiB of token', () => 'x'.repeat(65_536), 401, 'unauthorized'],
  ];
  for (const [name, token, status, code] of cases) {
    await t.test(`refused: ${name}`, async (t) => {
      const value = await token();
      await assert.rejects(openRaw(t, pod, { token: value }), (error) => {
        assert.ok(error instanceof Refused, String(error));
        // A header too large for any HTTP server is refused by its own status.
        if (error.status === 431) return value !== undefined && value.length > 10_000;
        assert.equal(error.status, status);
        assert.equal(error.error.code, code);
        assert.ok(error.error.message.length > 10, 'says what to do');
        // Neither what was wrong with it, nor anything of it, nor of the key.
        assert.doesNotMatch(
          error.body,
          /signature|expired|Exp|audience|InvalidToken|base64|elsewhere/i,
        );
        return true;
      });
    });
  }

  await t.test('a connection outlives its token, and resumes by its own secret', async (t) => {
    const token = jwt(keys.privateKey, good());
    const first = await startRaw(t, pod, { token });
    const { connection, key } = first.welcome;
    const old = jwt(keys.privateKey, { ...good(), exp: now() - 60 });
    const headers = { 'mafalda-connection': connection };
    await assert.rejects(openRaw(t, pod, { headers }), isRefused(401, 'unauthorized'));
    const thief = await openRaw(t, pod, { token: old, headers });
    thief.hello({ resume: { key: 'guess', received: 0 } });
    assert.equal((await thief.isClosed()).code, 4000);
    const next = await openRaw(t, pod, { token: old, headers });
    next.hello({ resume: { key, received: first.frames.length } });
    await until('it is welcome', () => next.texts.some((text) => text.includes(connection)));
    await next.giveUp();
  });

  await t.test('the application learns of it', async (t) => {
    await assert.rejects(
      createWorker(t, pod, {}, { env: { MAFALDA_TOKEN: 'garbage' } }),
      /code:50/,
    );
    const check = start(t, program('mafalda-worker'), ['--check'], {
      env: { MAFALDA_URL: pod.webSocketUrl, MAFALDA_TOKEN: 'garbage' },
    });
    assert.equal((await check.ended).code, 50);
    assert.match(check.output, /unauthorized/);
  });

  await t.test("a token's own limit of workers", async (t) => {
    const token = await keys.token({ more: ['--workers', '1'] });
    const env = { MAFALDA_TOKEN: token };
    await createWorker(t, pod, {}, { env });
    await assert.rejects(openRaw(t, pod, { token }), isRefused(429, 'tooManyWorkers'));
  });

  await t.test('status tells a stranger nothing of who is connected', async () => {
    const response = await pod.get('/v1/status');
    assert.equal(response.status, 401);
    for (const path of ['/livez', '/readyz']) assert.equal((await pod.get(path)).status, 200);
  });
});

test('a client may not have more workers than the pod allows it', async (t) => {
  const pod = await startPod(t, {
    workers: 1,
    args: ['--max-workers', '8', '--max-workers-per-client', '2'],
  });
  const first = await createWorker(t, pod);
  await createWorker(t, pod);
  await assert.rejects(openRaw(t, pod), isRefused(429, 'tooManyWorkers'));
  await assert.rejects(createWorker(t, pod), /code:50/);
  first.close();
  await until('it may have another', () => createWorker(t, pod));
});

test('a pod without a key opens no address but loopback, and says why', async (t) => {
  for (const address of ['0.0.0.0:0', '[::]:0']) {
    const pod = start(t, program('mafalda'), ['serve', '--listen', address]);
    const { code } = await pod.ended;
    assert.notEqual(code, 0);
    assert.match(pod.output, /--token-key/);
    assert.match(pod.output, /keygen/);
  }
  const keys = await makeKeys(t);
  await startPod(t, { listen: '0.0.0.0:0', args: keys.podArgs() });
});

test('the private key is for its owner alone, and is no public key', async (t) => {
  const keys = await makeKeys(t);
  assert.equal(statSync(keys.privateKey).mode & 0o777, 0o600);
  const pod = start(t, program('mafalda'), [
    'serve',
    '--listen',
    '127.0.0.1:0',
    '--token-key',
    keys.privateKey,
    '--cluster',
    'test',
  ]);
  assert.notEqual((await pod.ended).code, 0);
});

for (const version of ['3.19.0', '3.27.2', '4.0.0', 'not a version']) {
  test(`mediasoup ${version} is refused, with both versions and what to do`, async (t) => {
    const pod = await startPod(t);
    await assert.rejects(openRaw(t, pod, { version }), (/** @type {any} */ error) => {
      isRefused(409, 'versionMismatch')(error);
      assert.match(error.error.message, /3\.27\.1/);
      if (version !== 'not a version') assert.ok(error.error.message.includes(version), error.body);
      return true;
    });
    await assert.rejects(
      createWorker(t, pod, {}, { env: { MEDIASOUP_VERSION: version } }),
      /code:50/,
    );
    await createWorker(t, pod);
  });
}

test('no version, or another protocol, is refused', async (t) => {
  const pod = await startPod(t);
  /** @type {Record<string, string>[]} */
  const cases = [
    { 'mafalda-mediasoup': '' },
    { 'mafalda-protocol': '99' },
    { 'mafalda-protocol': '' },
  ];
  for (const headers of cases) {
    await assert.rejects(openRaw(t, pod, { headers }), (error) => {
      assert.ok(error instanceof Refused, String(error));
      assert.ok(error.status >= 400 && error.status < 500, error.message);
      assert.ok(error.error.message.length > 10);
      return true;
    });
  }
  await createWorker(t, pod);
});

/**
 * @param {number} status
 * @param {string} code
 * @returns {(error: any) => boolean}
 */
function isRefused(status, code) {
  return (error) => {
    assert.ok(error instanceof Refused, String(error));
    assert.deepEqual([error.status, error.error.code], [status, code], error.message);
    return true;
  };
}

/** @param {object} claims */
function unsigned(claims) {
  const part = (/** @type {object} */ value) =>
    Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ typ: 'JWT', alg: 'none' })}.${part(claims)}.`;
}

/** Another role in a token that was signed for a monitor. @param {string} token */
function changed(token) {
  const [header, body, signature] = token.split('.');
  const claims = JSON.parse(Buffer.from(body, 'base64url').toString());
  const other = Buffer.from(JSON.stringify({ ...claims, role: 'operator' })).toString('base64url');
  return [header, other, signature].join('.');
}
