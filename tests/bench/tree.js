// What a server spends on a packet: one producer, 1 000 consumers with SRTP, in rooms that differ in
// how many workers they are on and in who made the pipes.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createWorker } from '../lib/application.js';
import { startVirtualPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { Scope } from '../lib/scope.js';
import { event } from '../lib/until.js';
import { quantile, round } from './statistics.js';

export const CONSUMERS = 1000;
const ROUNDS = 3;
const SSRC = 1111;

const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' };
const cryptoSuite = /** @type {const} */ ('AES_CM_128_HMAC_SHA1_80');
const srtpParameters = { cryptoSuite, keyBase64: Buffer.alloc(30, 7).toString('base64') };

/**
 * @typedef {object} Room
 * @property {import('../lib/pod.js').Pod} pod
 * @property {import('mediasoup').types.PlainTransport} inward
 * @property {import('mediasoup').types.Consumer[]} consumers  of n workers, the first n on one each
 * @property {number} workers
 *
 * @typedef {(owner: import('../lib/scope.js').Owner, ports: number[]) => Promise<Room>} Build
 */

/** On two workers, against two that are piped by hand. */
export const byHand = () =>
  tree({ measured: (owner, ports) => virtualRoom(owner, ports, 2), base: bareRoom });

/** On six workers, each of which feeds two others at most, against all on one. */
export const onSix = () =>
  tree({
    measured: (owner, ports) => virtualRoom(owner, ports, 6, ['--pipe-fan-out', '2']),
    base: (owner, ports) => virtualRoom(owner, ports, 1),
  });

/**
 * CPU of the workers for a packet sent, in both rooms in turn.
 * @param {{ measured: Build, base: Build }} build
 * @param {{ perSecond?: number, seconds?: number }} [options]  packets of the producer
 */
async function tree(build, { perSecond = 20, seconds = 6 } = {}) {
  const scope = new Scope();
  try {
    const peer = start(
      scope,
      process.execPath,
      [new URL('./tree-process.js', import.meta.url).pathname],
      { ipc: true },
    );
    const [{ ports }] = await event(peer.child, 'message');
    const sideOf = async (/** @type {Build} */ build) => ({
      room: await build(scope, ports),
      /** Of CPU for a packet sent, each round. @type {number[]} */
      micros: [],
    });
    const sides = { measured: await sideOf(build.measured), base: await sideOf(build.base) };
    const run = (/** @type {Room} */ { inward }, /** @type {number} */ count) => {
      const done = event(peer.child, 'message');
      const { localAddress: address, localPort: port } = inward.tuple;
      peer.child.send({ address, port, ssrc: SSRC, count, perSecond });
      return done;
    };
    let received = 0;
    for (let i = 0; i < ROUNDS; i++) {
      const order = [sides.base, sides.measured];
      for (const { room, micros } of i % 2 ? order.reverse() : order) {
        // The first packets tell the transport its peer, and warm up.
        await run(room, perSecond);
        const before = await spent(room);
        const [report] = await run(room, perSecond * seconds);
        const after = await spent(room);
        const sent = after.packets - before.packets;
        micros.push((after.cpu - before.cpu) / 1e3 / sent);
        received += report.received / sent;
      }
    }
    const of = (/** @type {number[]} */ micros) => ({
      micros: round(quantile(micros, 0.5), 2),
      rounds: micros.map((value) => round(value, 2)),
    });
    const [measured, base] = [of(sides.measured.micros), of(sides.base.micros)];
    return {
      packetsPerSecond: perSecond * CONSUMERS,
      received: round(received / ROUNDS / 2, 3),
      measured,
      base,
      ratio: round(measured.micros / base.micros, 3),
    };
  } finally {
    await scope.end();
  }
}

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {number[]} ports
 * @param {number} workers
 * @param {string[]} [args]
 * @returns {Promise<Room>}
 */
async function virtualRoom(owner, ports, workers, args = []) {
  const pod = await podOf(owner, workers, args);
  const worker = await createWorker(owner, pod);
  const router = await worker.createRouter({ mediaCodecs });
  const { inward, producer } = await produce(router);
  const consumers = await consume(() => router, producer.id, ports);
  const { virtualWorkers } = await (await pod.get('/v1/topology')).json();
  const [{ pipes }] = virtualWorkers;
  if (pipes.length !== workers - 1) throw new Error(`${pipes.length} pipes`);
  return { pod, inward, consumers, workers };
}

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {number[]} ports
 * @returns {Promise<Room>}
 */
async function bareRoom(owner, ports) {
  const pod = await podOf(owner, 2);
  const workers = [1, 2].map(() => createWorker(owner, pod, {}, { env: { MAFALDA_MODE: 'real' } }));
  const routers = (await Promise.all(workers)).map((worker) =>
    worker.createRouter({ mediaCodecs }),
  );
  const [near, far] = await Promise.all(routers);
  const { inward, producer } = await produce(near);
  await near.pipeToRouter({ producerId: producer.id, router: far });
  const consumers = await consume((i) => (i % 2 ? near : far), producer.id, ports);
  return { pod, inward, consumers, workers: 2 };
}

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {number} workers
 * @param {string[]} [args]
 */
function podOf(owner, workers, args = []) {
  const placement = ['--placement', 'spread', '--listen-infos', 'application'];
  return startVirtualPod(owner, { workers, args: [...placement, ...args] });
}

/** @param {import('mediasoup').types.Router} router */
async function produce(router) {
  const inward = await router.createPlainTransport({ listenInfo, comedia: true });
  const producer = await inward.produce({ kind: 'audio', rtpParameters: opus(SSRC) });
  return { inward, producer };
}

/**
 * Each consumer on a transport of its own, as viewers have them.
 * @param {(i: number) => import('mediasoup').types.Router} router
 * @param {string} producerId
 * @param {number[]} ports
 */
async function consume(router, producerId, ports) {
  const consumers = [];
  for (let i = 0; i < CONSUMERS; i++) {
    const at = router(i);
    const transport = await at.createPlainTransport({
      listenInfo,
      enableSrtp: true,
      srtpCryptoSuite: cryptoSuite,
    });
    await transport.connect({ ip: '127.0.0.1', port: ports[i % ports.length], srtpParameters });
    consumers.push(await transport.consume({ producerId, rtpCapabilities: at.rtpCapabilities }));
  }
  return consumers;
}

/**
 * Nanoseconds of CPU that the workers have used, and packets that they have sent to consumers.
 * @param {Room} room
 */
async function spent({ pod, consumers, workers: on }) {
  // What is under way is sent by then: asking takes longer than that.
  await delay(200);
  const { workers } = await pod.status();
  const cpu = workers.reduce((sum, { pid }) => sum + (pid ? cpuOf(pid) : 0), 0);
  // All of a worker have the same, as the consumers' own counters say.
  const stats = await Promise.all(consumers.slice(0, on).map((each) => each.getStats()));
  const packets = stats.map(
    (stat) => stat.find(({ type }) => type === 'outbound-rtp')?.packetCount ?? 0,
  );
  const mean = packets.reduce((sum, count) => sum + count, 0) / on;
  return { cpu, packets: mean * consumers.length };
}

/**
 * Time on a CPU of all threads, nanoseconds: what utime and stime say in hundredths of a second.
 * @param {number} pid
 */
function cpuOf(pid) {
  const threads = readdirSync(`/proc/${pid}/task`);
  const times = threads.map((thread) =>
    Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]),
  );
  return times.reduce((sum, time) => sum + time, 0);
}
