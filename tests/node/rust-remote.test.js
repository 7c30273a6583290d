// An unmodified application of the Rust crate (examples/rust-remote): its worker is in the pod.
// `npm run test:node:frames` runs this again without the hand-over.
import assert from 'node:assert/strict';
import test from 'node:test';
import { asFromAnotherHost } from '../lib/application.js';
import { makeKeys } from '../lib/keys.js';
import { startPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';
import { startProxy } from '../lib/proxy.js';
import { until } from '../lib/until.js';

/**
 * Starts the application: it sends so many packets, one each 20 ms, through a router of its worker.
 * @param {test.TestContext} t
 * @param {{ webSocketUrl: string }} pod
 * @param {number} packets
 * @param {NodeJS.ProcessEnv} [env]
 */
function application(t, pod, packets, env = {}) {
  return start(t, program('rust-remote'), [String(packets)], {
    env: { MAFALDA_URL: pod.webSocketUrl, ...env },
  });
}

/** More packets than a test waits for. */
const MANY = 100_000;

/**
 * Waits until the application has ended by itself and returns its exit code.
 * @param {import('../lib/process.js').Program} application
 */
async function ended(application) {
  await until('the application ends', () => application.exit);
  return application.exit?.code;
}

/** @param {import('../lib/pod.js').Pod} pod */
async function hasNoConnections(pod) {
  const { connections } = await pod.status();
  return connections.attached + connections.detached === 0;
}

test('a router, a WebRTC transport, RTP there and back', async (t) => {
  const pod = await startPod(t);
  const rust = application(t, pod, 50);
  await rust.says(/packets come back/);
  const { connection, carries } = /** @type {any} */ (await pod.entryOf(rust));
  assert.equal(connection.mediasoup, '0.28.1');
  assert.equal(carries.routers, 1);
  assert.equal(carries.transports, 3);
  assert.equal(await ended(rust), 0, rust.output);
  assert.match(rust.stdout, /50 packets came back in order, the worker counted 50,/);
  assert.match(rust.stdout, new RegExp(`127\\.0\\.0\\.1 Udp ${pod.rtcPort}\n`));
  assert.equal(rust.stderr, '');
  // Long before the grace time of a connection that breaks.
  await until('the pod is free', () => hasNoConnections(pod), { within: 5_000 });
  assert.match(pod.logs, /worker ended.*code=0/);
});

test('a program that calls exit() leaves no worker behind', async (t) => {
  const pod = await startPod(t);
  const rust = application(t, pod, MANY);
  await rust.says(/packets come back/);
  rust.kill('SIGINT');
  assert.equal(await ended(rust), 130);
  await until('the pod is free', () => hasNoConnections(pod), { within: 5_000 });
  assert.doesNotMatch(rust.output, /died/);
});

test('sockets that break: nothing lost, nothing twice', async (t) => {
  const pod = await startPod(t);
  const proxy = await startProxy(t, pod.port);
  const packets = 250;
  const rust = application(t, proxy, packets, asFromAnotherHost);
  await rust.says(/packets come back/);
  for (let breaks = 1; breaks <= 10; breaks++) {
    const { carried } = proxy;
    proxy.breakAll();
    await until('it has connected again', () => proxy.taken > breaks);
    await until('packets flow again', () => proxy.carried > carried + 2_000, { every: 3 });
  }
  assert.equal(rust.exit, undefined, 'all that was while packets flowed');
  assert.equal(await ended(rust), 0, rust.output);
  assert.match(rust.stdout, new RegExp(`${packets} packets .* the worker counted ${packets},`));
  t.diagnostic(rust.stdout.trim().split('\n').at(-1) ?? '');
});

test('sockets that break while the pod has the channel', async (t) => {
  const pod = await startPod(t);
  const proxy = await startProxy(t, pod.port);
  const rust = application(t, proxy, 100, { MAFALDA_HAND_OVER: 'on' });
  await rust.says(/packets come back/);
  for (let breaks = 1; breaks <= 3; breaks++) {
    proxy.breakAll();
    await until('it has connected again', () => proxy.taken > breaks);
  }
  assert.equal(await ended(rust), 0, rust.output);
  assert.match(rust.stdout, /100 packets .* the worker counted 100,/);
  assert.ok(proxy.carried < 10_000, `${proxy.carried} bytes went another way`);
});

test('two applications, and one after another, on one pod', async (t) => {
  const pod = await startPod(t, { workers: 2 });
  for (let round = 0; round < 2; round++) {
    const both = [application(t, pod, 10), application(t, pod, 10)];
    for (const rust of both) assert.equal(await ended(rust), 0, rust.output);
  }
});

test('a wrong token: create_worker fails, and standard error says why', async (t) => {
  const keys = await makeKeys(t);
  const pod = await startPod(t, {
    args: keys.podArgs(),
    token: await keys.token({ role: 'monitor' }),
  });
  for (const token of ['', 'nonsense', await keys.token({ cluster: 'another' })]) {
    const rust = application(t, pod, MANY, { MAFALDA_TOKEN: token });
    assert.equal(await ended(rust), 1);
    assert.match(rust.stderr, /^mafalda-remote: ws:\S+ refuses: .* \((unauthorized|forbidden)\)$/m);
    assert.match(rust.stderr, /^Error: .*[Ww]orker/m);
  }
  const rust = application(t, pod, 1, { MAFALDA_TOKEN: await keys.token() });
  assert.equal(await ended(rust), 0, rust.output);
});

// Protects who takes the relay's setting for a program that has no relay.
test('several pods: create_worker fails, and standard error says what is possible', async (t) => {
  const pod = await startPod(t);
  for (const urls of [`${pod.webSocketUrl},ws://127.0.0.1:1`, 'ws://a:1 ws://b:1/v1/worker']) {
    const rust = application(t, { webSocketUrl: urls }, MANY);
    assert.equal(await ended(rust), 1);
    assert.match(
      rust.stderr,
      /^mafalda-remote: MAFALDA_URL names several pods, .*ws:\/\/host:port/m,
    );
  }
});

test('no pod there: create_worker fails', async (t) => {
  const rust = application(t, { webSocketUrl: 'ws://127.0.0.1:1' }, MANY);
  assert.equal(await ended(rust), 1);
  assert.match(rust.stderr, /^mafalda-remote: cannot reach ws:\/\/127\.0\.0\.1:1\/: /m);
});

for (const [signal, end] of /** @type {const} */ ([
  ['SIGKILL', 'Err(Unknown { status_code: 137 })'],
  ['SIGSEGV', 'Err(Unknown { status_code: 139 })'],
  ['SIGTERM', 'Ok(())'],
])) {
  test(`the worker ends by ${signal}: on_dead`, async (t) => {
    const pod = await startPod(t);
    const rust = application(t, pod, MANY);
    await rust.says(/packets come back/);
    const { pid } = await pod.entryOf(rust);
    process.kill(pid, signal);
    assert.equal(await ended(rust), 1);
    assert.ok(rust.stderr.includes(`the worker died: ${end}`), rust.output);
  });
}

test('the pod is gone for longer than the grace time: on_dead', async (t) => {
  const pod = await startPod(t, { args: ['--grace', '1'] });
  const rust = application(t, pod, MANY);
  await rust.says(/packets come back/);
  pod.kill('SIGKILL');
  assert.equal(await ended(rust), 1);
  assert.match(
    rust.stderr,
    /^mafalda-remote: (no connection for 1 s; |the pod on this host is gone)/m,
  );
  assert.match(rust.stderr, /the worker died: Err\(Unknown { status_code: 50 }\)/);
});
