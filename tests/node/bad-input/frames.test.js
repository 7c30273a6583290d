// What no relay would send: the one who sends it is told and loses its worker, everybody
// else goes on.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import net from 'node:net';
import test, { after, before, describe } from 'node:test';
import { createWorker } from '../../lib/application.js';
import { flowThrough } from '../../lib/flow.js';
import { memory } from '../../lib/memory.js';
import { startPod } from '../../lib/pod.js';
import { openRaw, startRaw } from '../../lib/raw-connection.js';
import { answers, Method, request } from '../../lib/requests.js';
import { mediaCodecs, opus } from '../../lib/rtp.js';
import { Scope } from '../../lib/scope.js';
import { event, until } from '../../lib/until.js';

const MIB = 1024 * 1024;

describe('garbage', () => {
  const scope = new Scope();
  /** @type {import('../../lib/pod.js').Pod} */
  let pod;
  /** Another application's call, that must never notice. */
  let call;
  let worker;
  /** The processes that its worker is, or is on. */
  let pids;

  before(async () => {
    pod = await startPod(scope, {
      workers: 2,
      // Sockets are broken off here; what hangs on them is not to be kept for long.
      args: ['--max-workers', '20', '--max-workers-per-client', '20', '--grace', '1'],
    });
    worker = await createWorker(scope, pod);
    worker.on('died', (error) =>
      assert.fail(`the other application's worker died: ${error.message}`),
    );
    const router = await worker.createRouter({ mediaCodecs });
    call = await flowThrough(scope, router, { ssrc: 1, rtpParameters: opus(1) });
    await until('media flows', async () => (await call.flow.report()).received > 10);
    pids = await processes();
    assert.ok(pids.length > 0);
  });
  after(() => scope.end());

  async function processes() {
    const { workers } = await pod.status();
    const inUse = workers.filter(({ connection, state }) => connection || state === 'member');
    return inUse.map(({ pid }) => pid);
  }

  /**
   * The pod serves on, and the other application has lost nothing.
   * @param {test.TestContext} t
   */
  async function lives(t) {
    const another = await createWorker(t, pod);
    const router = await another.createRouter({ mediaCodecs });
    await router.createDirectTransport();
    another.close();
    const now = await processes();
    assert.ok(pids.every((pid) => now.includes(pid)));
    assert.ok((await pod.entryOf(worker)).connection.connected);
    const report = await call.flow.report();
    assert.deepEqual(report.lost, []);
    await until(
      'its media goes on',
      async () => (await call.flow.report()).received > report.received,
    );
  }

  describe('before the hello', () => {
    /** @type {[string, string | Buffer][]} */
    const cases = [
      ['a binary frame', Buffer.from('hello')],
      ['an empty text', ''],
      ['text that is no JSON', 'hello?'],
      ['JSON of another kind', '[1, 2, 3]'],
      ['an unknown hello', JSON.stringify({ begin: {} })],
      ['a start without its parts', JSON.stringify({ start: {} })],
      ['a start with wrong types', JSON.stringify({ start: { pid: 'me', args: 7, files: [] } })],
      ['a process id that is none', JSON.stringify({ start: { pid: -1, args: [], files: {} } })],
      ['a channel message', request(1)],
      ['deep JSON', '['.repeat(100_000)],
      [
        'a megabyte of text',
        JSON.stringify({ start: { pid: 1, args: ['x'.repeat(MIB)], files: {} } }),
      ],
      [
        'a hundred thousand arguments',
        JSON.stringify({
          start: { pid: 1, args: Array.from({ length: 100_000 }, () => '--logTag=ice'), files: {} },
        }),
      ],
      [
        'arguments that are no settings',
        JSON.stringify({ start: { pid: 1, args: ['/bin/sh', '-c', 'id'], files: {} } }),
      ],
      [
        'an argument with a zero byte',
        JSON.stringify({ start: { pid: 1, args: ['--logLevel=warn\0x'], files: {} } }),
      ],
      [
        'a file that no setting names',
        JSON.stringify({
          start: { pid: 1, args: [], files: { '../../etc/passwd': 'x', '/tmp/x': 'y' } },
        }),
      ],
      ['resuming what never was', JSON.stringify({ resume: { key: 'guess', received: 0 } })],
    ];
    for (const [name, message] of cases) {
      test(name, async (t) => {
        const raw = await openRaw(t, pod);
        raw.socket.send(message);
        // Some are a start after all.
        await until('the pod has answered', () => raw.closed || raw.texts.length > 0);
        t.diagnostic(raw.closed ? `closed: ${raw.closed.code} ${raw.closed.reason}` : 'welcomed');
        await lives(t);
      });
    }
  });

  test('resuming: of an unknown connection, with a wrong key, beyond what was sent', async (t) => {
    const raw = await startRaw(t, pod);
    const { connection, key } = raw.welcome;
    /** @type {[Record<string, string>, { key: string, received: number }][]} */
    const cases = [
      [{ 'mafalda-connection': 'unknown' }, { key, received: 0 }],
      [{ 'mafalda-connection': connection }, { key: 'wrong', received: 0 }],
      [{ 'mafalda-connection': connection }, { key: '', received: 0 }],
    ];
    for (const [headers, resume] of cases) {
      const refused = await openRaw(t, pod, { headers }).then(
        async (thief) => {
          thief.hello({ resume });
          return thief.isClosed();
        },
        (error) => error,
      );
      t.diagnostic(`${JSON.stringify(headers)}: ${refused.message ?? refused.reason}`);
    }
    // The one who has it, has it still.
    raw.socket.send(request(1));
    await until('it is answered', () => raw.frames.some((frame) => answers(frame, 1)));
    assert.equal(raw.closed, undefined);

    const liar = await openRaw(t, pod, { headers: { 'mafalda-connection': connection } });
    liar.hello({ resume: { key, received: 1_000_000 } });
    await liar.isClosed();
    await lives(t);
  });

  describe('an offer to take the channel over', () => {
    /** A start that gets one, and its name: an abstract socket. */
    const offered = async (/** @type {test.TestContext} */ t) => {
      const raw = await openRaw(t, pod);
      raw.hello({ start: { pid: process.pid, args: [], files: {}, handOver: true } });
      const { handOver } = JSON.parse(await until('the pod answers', () => raw.texts[0]));
      assert.ok(handOver, 'an offer');
      return { raw, name: `\0${handOver}` };
    };
    /** @type {[string, string | undefined][]} */
    const cases = [
      ['garbage in answer', 'garbage'],
      ['nothing in answer', ''],
      ['a guess in answer', JSON.stringify({ connection: 'x', key: 'x' })],
      ['no answer', undefined],
    ];
    for (const [name, words] of cases) {
      test(name, async (t) => {
        const offer = await offered(t);
        const stranger = net.connect({ path: offer.name });
        t.after(() => stranger.destroy());
        stranger.on('error', () => {});
        if (words === '') stranger.end();
        else if (words) stranger.write(words);
        offer.raw.hello({ handedOver: true });
        const end = await offer.raw.isClosed();
        t.diagnostic(`closed: ${end.code} ${end.reason}`);
        await lives(t);
      });
    }

    test('a stranger that holds it does not keep the application from its worker', async (t) => {
      const { raw, name } = await offered(t);
      const stranger = net.connect({ path: name });
      t.after(() => stranger.destroy());
      stranger.on('error', () => {});
      await event(stranger, 'connect');
      raw.hello({ handedOver: false });
      raw.socket.send(request(1));
      await until('it is answered', () => raw.frames.some((frame) => answers(frame, 1)));
      await lives(t);
    });
  });

  describe('after the hello', () => {
    const good = request(1);
    /** A size that is not the message's. @param {number} size */
    const lying = (size) => {
      const bytes = Buffer.from(good);
      bytes.writeUInt32LE(size, 0);
      return bytes;
    };
    /** @type {[string, string | Buffer][]} */
    const cases = [
      ['an empty frame', Buffer.alloc(0)],
      ['three bytes', Buffer.from([1, 2, 3])],
      ['a size of nothing', Buffer.alloc(4)],
      ['a size that is too large', lying(good.length * 2)],
      ['a size that is too small', lying(4)],
      ['the largest size a channel may have', lying(0x0fffffff)],
      ['a size over every bound', lying(0xfffffeff)],
      ['a truncated request', good.subarray(0, good.length - 5)],
      ['noise of the right size', sized(randomBytes(200))],
      ['zeros of the right size', sized(Buffer.alloc(200))],
      ['an offset out of the buffer', sized(Buffer.from('ffffff7f00000000', 'hex'))],
      ['a mark that no protocol has', Buffer.from('ffffffff00', 'hex')],
      ['the end of a worker, from an application', Buffer.from('05ffffff0000000000', 'hex')],
      ['output of a worker, from an application', Buffer.from('01ffffff4142', 'hex')],
      ['a text that is no note', 'what?'],
      ['an acknowledgement of what never was', JSON.stringify({ acknowledge: 4_000_000_000 })],
      ['an acknowledgement of less than nothing', JSON.stringify({ acknowledge: -1 })],
    ];
    for (const [name, message] of cases) {
      test(name, async (t) => {
        const raw = await startRaw(t, pod);
        raw.socket.send(message);
        const told = await until('its sender is told', () => raw.closed?.reason || raw.stderr);
        t.diagnostic(`${raw.closed ? 'closed' : 'not passed on'}: ${told}`);
        await lives(t);
      });
    }

    test('a signal that is none', async (t) => {
      const raw = await startRaw(t, pod);
      raw.socket.send(Buffer.from('03ffffffff', 'hex'));
      raw.socket.send(request(1));
      await until('it is answered', () => raw.frames.some((frame) => answers(frame, 1)));
      await lives(t);
    });

    test('hundreds of damaged requests', async (t) => {
      let ended = 0;
      for (let seed = 1; seed <= 24; seed++) {
        const raw = await startRaw(t, pod);
        const original = request(seed, seed % 2 ? Method.WORKER_DUMP : Method.WORKER_CREATE_ROUTER);
        for (let i = 0; i < 16 && !raw.closed; i++)
          raw.socket.send(damage(original, seed * 1000 + i));
        raw.socket.send(request(4711));
        await until(
          'it is answered or at an end',
          () => raw.closed || raw.hasExited || raw.frames.some((frame) => answers(frame, 4711)),
        );
        if (raw.closed || raw.hasExited) ended++;
        await raw.giveUp();
      }
      t.diagnostic(`${ended} of 24 workers ended by it, those of the sender`);
      await lives(t);
    });
  });

  test('a frame that is too large is refused before it is held', async (t) => {
    const raw = await startRaw(t, pod);
    const before = memory(pod.pid);
    const huge = Buffer.alloc(256 * MIB, 1);
    huge.writeUInt32LE(huge.length - 4, 0);
    raw.socket.send(huge);
    const end = await raw.isClosed();
    t.diagnostic(`closed: ${end.code} ${end.reason}`);
    const after = memory(pod.pid);
    assert.ok(after.peak - before.now < 48, `${after.peak - before.now} MiB more`);
    await lives(t);
  });

  test('one who sends past the window and never reads: memory stays bounded', async (t) => {
    const raw = await startRaw(t, pod);
    // Neither its acknowledgements nor its answers are ever read.
    raw.socket.pause();
    const before = memory(pod.pid);
    const many = Buffer.concat(Array.from({ length: 2_000 }, (_, i) => request(i + 1)));
    let sent = 0;
    while (raw.socket.readyState === raw.socket.OPEN && raw.socket.bufferedAmount < 16 * MIB) {
      raw.socket.send(many);
      sent += many.length;
      await setImmediate();
    }
    const taken = sent - raw.socket.bufferedAmount;
    const { peak } = memory(pod.pid);
    t.diagnostic(
      `the pod took ${(taken / MIB).toFixed(1)} MiB; ` +
        `${before.now.toFixed(1)} MiB before, at most ${peak.toFixed(1)} MiB`,
    );
    assert.ok(peak - before.now < 64, `${peak - before.now} MiB more`);
    raw.socket.terminate();
    await lives(t);
  });
});

/** @param {Buffer} body */
function sized(body) {
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32LE(body.length);
  return Buffer.concat([prefix, body]);
}

/**
 * Some bytes changed, the size left as it is; the same for the same seed.
 * @param {Buffer} original
 * @param {number} seed
 */
function damage(original, seed) {
  const bytes = Buffer.from(original);
  let state = seed;
  const next = (/** @type {number} */ below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  for (let n = 1 + next(4); n > 0; n--) bytes[4 + next(bytes.length - 4)] = next(256);
  return bytes;
}
