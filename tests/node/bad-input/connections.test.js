// Connections that never become any: memory stays bounded, and the pod serves others.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker, mediasoup } from '../../lib/application.js';
import { memory } from '../../lib/memory.js';
import { startPod } from '../../lib/pod.js';
import { start } from '../../lib/process.js';
import { event, until } from '../../lib/until.js';

const MANY = 10_000;

/**
 * @param {test.TestContext} t
 * @param {import('../../lib/pod.js').Pod} pod
 * @param {number} count
 * @param {string} words  what each says first
 */
async function hold(t, pod, count, words = '') {
  const script = new URL('../../lib/idle-process.js', import.meta.url).pathname;
  const holder = start(
    t,
    'prlimit',
    [
      `--nofile=${count + 1000}:${count + 1000}`,
      process.execPath,
      script,
      String(pod.port),
      String(count),
      Buffer.from(words, 'latin1').toString('base64'),
    ],
    { ipc: true },
  );
  const ask = async () => {
    const answer = event(holder.child, 'message');
    holder.child.send({});
    return (await answer)[0];
  };
  await until(
    'all were tried',
    async () => {
      const { open, closed, refused } = await ask();
      return open + closed + refused === count;
    },
    { within: 30_000, every: 100 },
  );
  return { ask, end: () => holder.stop() };
}

const half = 'GET /v1/worker HTTP/1.1\r\nHost: p';

const upgrade = [
  'GET /v1/worker HTTP/1.1',
  'Host: pod',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
  `mafalda-mediasoup: ${mediasoup.version}`,
  'mafalda-protocol: 1',
  '',
  '',
].join('\r\n');

/** Memory that one connection may cost the pod, KiB. */
const EACH = 16;

for (const { name, count, words = '', args = [] } of [
  { name: 'idle connections', count: MANY },
  {
    name: 'idle connections, all of them let in',
    count: MANY,
    args: ['--max-connections', String(MANY + 1000)],
  },
  { name: 'halves of an HTTP request', count: 2_000, words: half },
  { name: 'WebSockets without a hello', count: 2_000, words: upgrade },
  { name: 'noise', count: 2_000, words: '\u0016\u0003\u0001\u0002\u0000\u0001\u0000\r\n\r\n' },
]) {
  test(`${count} ${name}: bounded memory, and the pod serves others`, async (t) => {
    // Files as most systems allow them at first; the pod must not need more from its user.
    const pod = await startPod(t, { fileLimit: 1024, args });
    const before = memory(pod.pid);
    const holder = await hold(t, pod, count, words);
    const after = memory(pod.pid);
    const { open, closed, refused } = await holder.ask();
    t.diagnostic(
      `${open} open, ${closed} closed by the pod, ${refused} refused; ` +
        `${before.now.toFixed(1)} MiB before, ${after.now.toFixed(1)} MiB with them, at most ${after.peak.toFixed(1)}`,
    );
    const more = after.peak - before.now;
    assert.ok(more * 1024 < EACH * Math.max(count, 4_000), `${more} MiB more`);

    // While they are held: a new application is served, and the pod is seen to live.
    const worker = await until('an application gets a worker', () => createWorker(t, pod), {
      within: 60_000,
      every: 250,
    });
    await worker.createRouter();
    await until('the pod is seen to live', async () => (await pod.get('/livez')).ok, {
      within: 30_000,
    });

    await holder.end();
    await until('all are let go', async () => (await pod.status()).connections.attached === 1);
  });
}

test('half a handshake is not waited for without end', async (t) => {
  const pod = await startPod(t);
  const holders = await Promise.all(['', half, upgrade].map((words) => hold(t, pod, 10, words)));
  for (const holder of holders) {
    await until('the pod has given up', async () => (await holder.ask()).open === 0, {
      within: 30_000,
      every: 250,
    });
  }
});
