// One worker over several pods, which come and go while it runs; and what can be set for it.
import assert from 'node:assert/strict';
import { readFile, rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { createWorker, relayWithLog } from '../lib/application.js';
import { flowThrough } from '../lib/flow.js';
import { makeKeys } from '../lib/keys.js';
import { startVirtualPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';
import { openRaw } from '../lib/raw-connection.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { until } from '../lib/until.js';

/**
 * A file with the pods of an application.
 * @param {test.TestContext} t
 */
async function listOfPods(t) {
  const file = path.join(await temporaryDirectory(t), 'pods');
  return {
    env: { MAFALDA_URL_FILE: file, MAFALDA_PLACEMENT: 'spread' },
    /** @param {import('../lib/pod.js').Pod[]} pods  one a line */
    async name(...pods) {
      await writeFile(`${file}.new`, pods.map((pod) => `${pod.webSocketUrl}\n`).join(''));
      await rename(`${file}.new`, file);
    },
    /** @param {string} text  as it is, in place */
    write: (text) => writeFile(file, text),
  };
}

/**
 * How many transports lie on a pod's workers, pipes included.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function carried(pod) {
  const { workers } = await pod.status();
  return workers.reduce((sum, { carries }) => sum + carries.transports, 0);
}

/**
 * How many borrowers a pod has.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function attached(pod) {
  return (await pod.status()).connections.attached;
}

/**
 * A call that is checked for losses.
 * @param {test.TestContext} t
 * @param {import('mediasoup').types.Router} router
 */
async function startCall(t, router) {
  const call = await flowThrough(t, router, { ssrc: 1111, rtpParameters: opus(1111), interval: 5 });
  await until('media flows', async () => (await call.flow.report()).received > 20);
  return {
    ...call,
    async goesOn() {
      const { sent } = await call.flow.report();
      await until('its media goes on', async () => (await call.flow.report()).received > sent + 40);
      const { lost, doubled, disordered } = await call.flow.report();
      assert.deepEqual({ lost, doubled, disordered }, { lost: [], doubled: 0, disordered: 0 });
    },
  };
}

/**
 * Makes transports until one of them is on that pod; returns all.
 * @param {import('../lib/pod.js').Pod} pod
 * @param {import('mediasoup').types.Router} router
 */
async function placeOn(pod, router) {
  /** @type {import('mediasoup').types.Transport[]} */
  const made = [];
  const before = await carried(pod);
  await until('something new is there', async () => {
    made.push(await router.createDirectTransport());
    return (await carried(pod)) > before;
  });
  return made;
}

/**
 * Waits until nothing new is put on a pod; returns what was made meanwhile.
 * @param {import('../lib/pod.js').Pod} pod
 * @param {import('mediasoup').types.Router} router
 */
async function takesNothing(pod, router) {
  /** @type {import('mediasoup').types.Transport[]} */
  const made = [];
  await until('nothing new goes there', async () => {
    const before = await carried(pod);
    for (let i = 0; i < 3; i++) made.push(await router.createDirectTransport());
    return (await carried(pod)) === before;
  });
  return made;
}

// Protects calls, and what comes after them, from whoever changes the list of pods.
test('pods are added, removed and put back under a call, which loses nothing', async (t) => {
  const [first, second] = [await startVirtualPod(t), await startVirtualPod(t)];
  const pods = await listOfPods(t);
  // One is enough to begin with.
  await pods.name(first);
  const worker = await createWorker(t, '', {}, { env: pods.env });
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const router = await worker.createRouter({ mediaCodecs });
  const early = await startCall(t, router);
  await early.goesOn();
  assert.deepEqual([await carried(first), await carried(second)], [2, 0]);

  // Added: used for what comes next.
  await pods.name(first, second);
  await until('it lends', async () => (await attached(second)) === 1);
  const extra = await placeOn(second, router);
  const late = await startCall(t, router);
  await late.goesOn();
  assert.ok((await carried(second)) >= 3, 'an end of the call, and of its pipe');

  // Removed: keeps what it has.
  await pods.name(first);
  extra.push(...(await takesNothing(second, router)));
  for (const call of [early, late]) await call.goesOn();
  assert.equal(await attached(second), 1);

  // Put back while it is in use: the same connection, and used again.
  await pods.name(first, second);
  extra.push(...(await placeOn(second, router)));
  assert.equal(await attached(second), 1, 'one connection for two pods');
  for (const call of [early, late]) await call.goesOn();

  // Removed, and nothing left on it: let go of.
  for (const transport of extra) transport.close();
  late.flow.stop();
  for (const transport of [late.inward, late.outward]) transport.close();
  await pods.name(first);
  await until('it is let go of', async () => (await attached(second)) === 0);
  await early.goesOn();

  // And taken again when it is named again.
  await pods.name(first, second);
  await until('it lends again', async () => (await attached(second)) === 1);
  await placeOn(second, router);
  await early.goesOn();
});

// Protects who renews a token that is good for an hour: a pod of tomorrow is shown the one of tomorrow.
test('a pod that comes later is shown the token of then', async (t) => {
  const keys = await makeKeys(t);
  const token = await keys.token({ role: 'monitor' });
  const options = { args: keys.podArgs(), token };
  const [first, second] = [await startVirtualPod(t, options), await startVirtualPod(t, options)];
  const pods = await listOfPods(t);
  await pods.name(first);
  const file = path.join(await temporaryDirectory(t), 'token');
  const short = await keys.token({ more: ['--ttl', '3s'] });
  await writeFile(file, `${short}\n`);
  const env = { ...pods.env, MAFALDA_TOKEN_FILE: file };
  const worker = await createWorker(t, '', {}, { env });
  worker.on('died', (error) => assert.fail(`the worker died: ${error.message}`));
  const router = await worker.createRouter({ mediaCodecs });
  const call = await startCall(t, router);
  const over = async () => {
    const refused = openRaw(t, second, { token: short, path: '/v1/members' });
    return refused.then(
      (raw) => raw.giveUp().then(() => false),
      () => true,
    );
  };
  await until('it is over', over, { every: 250 });
  await writeFile(file, `${await keys.token()}\n`);
  await pods.name(first, second);
  await until('it lends', async () => (await attached(second)) === 1);
  await placeOn(second, router);
  assert.equal(await attached(first), 1);
  await call.goesOn();
});

// Protects calls from a hand that slips, and from an editor that empties a file before it writes.
test('a list that cannot be used changes nothing, and the relay says why', async (t) => {
  const both = [await startVirtualPod(t), await startVirtualPod(t)];
  const pods = await listOfPods(t);
  await pods.name(...both);
  const { workerBin, log } = await relayWithLog(t);
  const worker = await createWorker(t, '', { workerBin }, { env: pods.env });
  const router = await worker.createRouter({ mediaCodecs });
  const call = await startCall(t, router);
  for (const [text, reason] of /** @type {const} */ ([
    ['', /names no pod; the pods stay as they are/],
    ['http://127.0.0.1:1', /http:\/\/127\.0\.0\.1:1.*ws:\/\/host:port/],
    [`${both[0].webSocketUrl}/v1/sessions/call`, /stays with those without a path/],
  ])) {
    await pods.write(text);
    await until('it is said', async () => reason.test(await readFile(log, 'utf8')));
  }
  for (const pod of both) {
    assert.equal(await attached(pod), 1);
    await placeOn(pod, router);
  }
  await call.goesOn();
});

// Protects who tunes one worker over several pods as a pod is tuned.
test('what is set wrong is refused by its name, and what is set counts', async (t) => {
  const both = [await startVirtualPod(t), await startVirtualPod(t)];
  const urls = both.map((pod) => pod.webSocketUrl).join();
  for (const [variable, value, possible] of [
    ['MAFALDA_WATERMARK', '60', /0\.01 to 1/],
    ['MAFALDA_PIPE_DEPTH', '0', /1 to 255/],
    ['MAFALDA_PIPE_FAN_OUT', 'many', /1 to 255/],
    ['MAFALDA_PLACEMENT', 'fast', /pack/],
  ]) {
    const env = { MAFALDA_URL: urls, [`${variable}`]: `${value}` };
    const check = start(t, program('mafalda-worker'), ['--check'], { env });
    assert.equal((await check.ended).code, 50);
    assert.match(check.stderr, new RegExp(`${variable} is "${value}"`));
    assert.match(check.stderr, /** @type {RegExp} */ (possible));
    await assert.rejects(createWorker(t, urls, {}, { env }), /code:50/);
  }
  // A tree of depth 1 is none: each copy is fed by the producer's own worker.
  const env = { MAFALDA_PLACEMENT: 'spread', MAFALDA_PIPE_DEPTH: '1', MAFALDA_WATERMARK: '0.5' };
  const worker = await createWorker(t, urls, {}, { env });
  await (await startCall(t, await worker.createRouter({ mediaCodecs }))).goesOn();
});

test('--check asks each pod of a list, and names those that are wrong', async (t) => {
  const [here, away] = [await startVirtualPod(t), await startVirtualPod(t)];
  const check = async (/** @type {string} */ url) => {
    const env = { MAFALDA_URL: url };
    const checking = start(t, program('mafalda-worker'), ['--check'], { env });
    const { code } = await checking.ended;
    return { code, said: checking.stdout, wrong: checking.stderr };
  };
  const urls = `${here.webSocketUrl},${away.webSocketUrl}`;
  const both = await check(urls);
  assert.equal(both.code, 0, both.wrong);
  assert.equal(both.said.match(/^ok: ws:.* lends workers/gm)?.length, 2, both.said);
  await away.stop();
  const one = await check(urls);
  assert.equal(one.code, 50);
  assert.ok(one.said.startsWith(`ok: ${here.webSocketUrl}/ lends workers`), one.said);
  assert.ok(one.wrong.includes(`cannot reach ${away.webSocketUrl}/`), one.wrong);
});
