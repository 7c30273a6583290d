// Settings that cannot work are refused before anything runs, and the reason names the setting.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { makeAuthority, makeCertificate } from '../lib/certificate.js';
import { startPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';
import { temporaryDirectory } from '../lib/temporary.js';

test('a pod that cannot work does not start', async (t) => {
  const directory = await temporaryDirectory(t);
  const { certificate, key } = await makeCertificate(directory);
  const other = await makeCertificate(path.join(directory, 'other'));
  for (const [arguments_, reason] of /** @type {const} */ ([
    [['--grace', '0'], /--grace/],
    [['--max-connections', '0'], /--max-connections: at least 1/],
    [['--max-workers-per-client', '0'], /--max-workers-per-client: at least 1/],
    [['--announced-address', 'a b'], /--announced-address: "a b": an IPv4 or IPv6 address/],
    [['--announced-address', ''], /--announced-address: "": /],
    [['--announced-address', 'http://media.example'], /--announced-address: "http:/],
    [['--announced-address', '203.0.113.7:40000'], /--announced-address: "203.0.113.7:40000": /],
    [
      ['--announced-address', '203.0.113.7', '--announced-address', 'media.example'],
      /--announced-address: "media.example": "203.0.113.7" is announced for IPv4 already/,
    ],
    [
      ['--rtc-ip', '127.0.0.1', '--announced-address', '2001:db8::1'],
      /--announced-address: "2001:db8::1": no IPv6 address is bound: give an --rtc-ip/,
    ],
    // TEST-NET-1 (RFC 5737): no host has it.
    [['--rtc-ip', '192.0.2.1'], /--rtc-ip: 192\.0\.2\.1: /],
    [['--tls-cert', '/nowhere', '--tls-key', key], /--tls-cert: \/nowhere: No such file/],
    [['--tls-cert', key, '--tls-key', key], /--tls-cert: .*: no certificate in it/],
    [['--tls-cert', certificate, '--tls-key', certificate], /--tls-key: .*: no private key in it/],
    [['--tls-cert', certificate, '--tls-key', other.key], /--tls-cert: .*KeyMismatch/],
  ])) {
    const pod = start(t, program('mafalda'), ['serve', '--listen', '127.0.0.1:0', ...arguments_]);
    assert.notEqual((await pod.ended).code, 0);
    assert.match(pod.stderr, reason);
    assert.doesNotMatch(pod.stderr, /listening/);
  }
});

// A pod in a cluster is reached by an address that nobody knew when its certificate was made.
test('TLS: an authority in MAFALDA_CA vouches for pods by their common name, and for no others', async (t) => {
  for (const [names, code, answer] of /** @type {const} */ ([
    ['DNS:pod.mafalda', 0, /^ok: wss:/],
    ['DNS:elsewhere.example', 50, /certificate/],
  ])) {
    const { certificate, key, ca } = makeAuthority(await temporaryDirectory(t), names);
    const args = ['--tls-cert', certificate, '--tls-key', key];
    const pod = start(t, program('mafalda'), ['serve', '--listen', '127.0.0.1:0', ...args]);
    const [, port] = await pod.says(/listening on https:\/\/127\.0\.0\.1:(\d+)/);
    const env = { MAFALDA_URL: `wss://127.0.0.1:${port}`, MAFALDA_CA: ca };
    const check = start(t, program('mafalda-worker'), ['--check'], { env });
    assert.equal((await check.ended).code, code, check.stderr);
    assert.match(check.stdout + check.stderr, answer);
  }
});

test('TLS: with MAFALDA_CA the pod is trusted; else --check says what to set', async (t) => {
  const directory = await temporaryDirectory(t);
  const authority = makeAuthority(directory, 'IP:127.0.0.1');
  const args = ['--tls-cert', authority.certificate, '--tls-key', authority.key];
  const pod = start(t, program('mafalda'), ['serve', '--listen', '127.0.0.1:0', ...args]);
  const [, port] = await pod.says(/listening on https:\/\/127\.0\.0\.1:(\d+)/);
  const plain = await startPod(t);
  for (const [url, ca, code, answer] of /** @type {const} */ ([
    [`wss://127.0.0.1:${port}`, authority.ca, 0, /^ok: wss:/],
    [`wss://127.0.0.1:${port}`, '', 50, /UnknownIssuer \(MAFALDA_CA names /],
    [`ws://127.0.0.1:${port}`, '', 50, /for which MAFALDA_URL is wss:/],
    [plain.webSocketUrl.replace('ws:', 'wss:'), '', 50, /no TLS is spoken there/],
  ])) {
    const env = { MAFALDA_URL: url, MAFALDA_CA: ca };
    const check = start(t, program('mafalda-worker'), ['--check'], { env });
    assert.equal((await check.ended).code, code, check.stderr);
    assert.match(check.stdout + check.stderr, answer);
  }
});
