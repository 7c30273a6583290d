// What a server spends on a packet: one producer, 1 000 consumers with SRTP on two workers, piped by
// the virtual worker against piped by hand.
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { createWorker } from '../lib/application.js';
import { startVirtualPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
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
 * @property {import('mediasoup').types.Consumer[]} consumers
 * @property {number[]} micros  of CPU for a packet sent, each round
 */

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {{ perSecond?: number, seconds?: number }} [options]  packets of the producer
 */
export async function tree(owner, { perSecond = 20, seconds = 6 } = {}) {
  const peer = start(
    owner,
    process.execPath,
    [new URL('./tree-process.js', import.meta.url).pathname],
    { ipc: true },
  );
  const [{ ports }] = await event(peer.child, 'message');
  const rooms = { virtual: await virtualRoom(owner, ports), bare: await bareRoom(owner, ports) };
  const run = (/** @type {Room} */ { inward }, /** @type {number} */ count) => {
    const done = event(peer.child, 'message');
    const { localAddress: address, localPort: port } = inward.tuple;
    peer.child.send({ address, port, ssrc: SSRC, count, perSecond });
    return done;
  };
  let received = 0;
  for (let i = 0; i < ROUNDS; i++) {
    for (const room of i % 2 ? [rooms.virtual, rooms.bare] : [rooms.bare, rooms.virtual]) {
      // The first packets tell the transport its peer, and warm up.
      await run(room, perSecond);
      const before = await spent(room);
      const [report] = await run(room, perSecond * seconds);
      const after = await spent(room);
      const sent = after.packets - before.packets;
      room.micros.push((after.cpu - before.cpu) / 1e3 / sent);
      received += report.received / sent;
    }
  }
  await peer.stop();
  const of = (/** @type {Room} */ { micros }) => ({
    micros: round(quantile(micros, 0.5), 2),
    rounds: micros.map((value) => round(value, 2)),
  });
  const [virtual, bare] = [of(rooms.virtual), of(rooms.bare)];
  return {
    packetsPerSecond: perSecond * CONSUMERS,
    received: round(received / ROUNDS / 2, 3),
    virtual,
    bare,
    ratio: round(virtual.micros / bare.micros, 3),
  };
}

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {number[]} ports
 * @returns {Promise<Room>}
 */
async function virtualRoom(owner, ports) {
  const pod = await pods(owner);
  const worker = await createWorker(owner, pod);
  const router = await worker.createRouter({ mediaCodecs });
  const { inward, producer } = await produce(router);
  const consumers = await consume(() => router, producer.id, ports);
  const { virtualWorkers } = await (await pod.get('/v1/topology')).json();
  const [{ pipes }] = virtualWorkers;
  if (pipes.length !== 1) throw new Error(`${pipes.length} pipes`);
  return { pod, inward, consumers, micros: [] };
}

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {number[]} ports
 * @returns {Promise<Room>}
 */
async function bareRoom(owner, ports) {
  const pod = await pods(owner);
  const workers = [1, 2].map(() => createWorker(owner, pod, {}, { env: { MAFALDA_MODE: 'real' } }));
  const routers = (await Promise.all(workers)).map((worker) =>
    worker.createRouter({ mediaCodecs }),
  );
  const [near, far] = await Promise.all(routers);
  const { inward, producer } = await produce(near);
  await near.pipeToRouter({ producerId: producer.id, router: far });
  const consumers = await consume((i) => (i % 2 ? near : far), producer.id, ports);
  return { pod, inward, consumers, micros: [] };
}

/** @param {import('../lib/scope.js').Owner} owner */
function pods(owner) {
  const placement = ['--placement', 'spread', '--listen-infos', 'application'];
  return startVirtualPod(owner, { workers: 2, args: placement });
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
async function spent({ pod, consumers }) {
  // What is under way is sent by then: asking takes longer than that.
  await delay(200);
  const { workers } = await pod.status();
  const cpu = workers.reduce((sum, { pid }) => sum + (pid ? cpuOf(pid) : 0), 0);
  // All have the same, as the consumers' own counters say.
  const stats = await Promise.all([consumers[0], consumers[1]].map((each) => each.getStats()));
  const packets = stats.map(
    (stat) => stat.find(({ type }) => type === 'outbound-rtp')?.packetCount ?? 0,
  );
  return { cpu, packets: ((packets[0] + packets[1]) / 2) * consumers.length };
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
