// How long a media packet is on its way through no, one and two pipes. One packet at a time is under
// way, from and to sockets of this process, so that one clock tells both ends; the ways take turns.
import dgram from 'node:dgram';
import { createWorker } from '../lib/application.js';
import { startVirtualPod } from '../lib/pod.js';
import { isRtcp, mediaCodecs, opus, packet } from '../lib/rtp.js';
import { Scope, scopeOf } from '../lib/scope.js';
import { event, until } from '../lib/until.js';
import { quantile, round } from './statistics.js';

const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' };

/** A chain of three workers: one behind the other, each feeding one copy. */
const chain = ['--placement', 'spread', '--pipe-fan-out', '1'];

/** @typedef {(owner: import('../lib/scope.js').Owner) => Promise<Room>} Start */

/**
 * @typedef {object} Room  three workers that an application has as one
 * @property {import('../lib/pod.js').Pod[]} pods  the first worker of the first one is the origin
 * @property {import('mediasoup').types.Router} router
 */

/** @type {Record<string, Start>} */
const rooms = {
  async 'one pod'(owner) {
    const pod = await startVirtualPod(owner, { workers: 3, args: chain });
    const worker = await createWorker(owner, pod);
    return { pods: [pod], router: await worker.createRouter({ mediaCodecs }) };
  },
  // The first pipe leads to the other pod, the second one is in there.
  async 'two pods'(owner) {
    const pods = [
      await startVirtualPod(owner, { workers: 1 }),
      await startVirtualPod(owner, { workers: 2 }),
    ];
    const url = pods.map((pod) => pod.webSocketUrl).join();
    const worker = await createWorker(owner, url, {}, { env: { MAFALDA_PLACEMENT: 'spread' } });
    return { pods, router: await worker.createRouter({ mediaCodecs }) };
  },
};

/** @param {number} rounds  packets on each way */
export async function packetTimes(rounds) {
  /** @type {Record<string, ReturnType<typeof summary>>} */
  const result = {};
  for (const [name, startRoom] of Object.entries(rooms)) {
    const scope = new Scope();
    try {
      result[name] = summary(await timesIn(scope, await startRoom(scope), rounds));
    } finally {
      await scope.end();
    }
  }
  return result;
}

/** @typedef {Record<'socket' | 'none' | 'one' | 'two', number[]>} Times  microseconds */

/** @param {Times} times */
function summary(times) {
  const at = (/** @type {number} */ q) => {
    const micros = (/** @type {number[]} */ values) => Math.round(quantile(values, q));
    const ratio = (/** @type {number[]} */ values) => round(micros(values) / micros(times.none));
    const { socket, none, one, two } = times;
    return {
      ...{ socketMicros: micros(socket), noneMicros: micros(none) },
      ...{ oneMicros: micros(one), twoMicros: micros(two) },
      ...{ oneRatio: ratio(one), twoRatio: ratio(two) },
    };
  };
  return { rounds: times.none.length, median: at(0.5), p99: at(0.99) };
}

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {Room} room
 * @param {number} rounds
 * @returns {Promise<Times>}
 */
async function timesIn(owner, room, rounds) {
  const ways = { socket: await direct(owner), ...(await through(owner, room)) };
  /** @type {Times} */
  const times = { socket: [], none: [], one: [], two: [] };
  const names = /** @type {(keyof Times)[]} */ (Object.keys(times));
  for (let i = -rounds / 10; i < rounds; i++) {
    for (const name of i % 2 ? names : [...names].reverse()) {
      const micros = await ways[name]();
      // The first ones warm up.
      if (i >= 0) times[name].push(micros);
    }
  }
  return times;
}

/** @typedef {() => Promise<number>} Way  sends a packet; microseconds until it was there */

/**
 * From socket to socket: what measuring itself takes.
 * @param {import('../lib/scope.js').Owner} owner
 * @returns {Promise<Way>}
 */
async function direct(owner) {
  const [from, to] = [await socketOf(owner), await socketOf(owner)];
  await connect(from, to.address());
  return way(from, to, 0);
}

/**
 * A producer for each way on the origin, so that each packet is on its way alone.
 * @param {import('../lib/scope.js').Owner} owner
 * @param {Room} room
 */
async function through(owner, { pods, router }) {
  const legs = await threeLegs(owner, pods, router);
  const [origin, middle, end] = legs;
  const ways = {
    none: await startWay(router, 1, origin, origin),
    one: await startWay(router, 2, origin, middle),
    two: await startWay(router, 3, origin, end, async (producerId) => {
      // The copy in the middle, from which the one at the end is fed.
      const { rtpCapabilities } = router;
      await middle.transport.consume({ producerId, rtpCapabilities, paused: true });
    }),
  };
  const transports = await loads(pods);
  // A leg each, and of the two pipes the ends.
  const expected = { [origin.place]: 2, [middle.place]: 3, [end.place]: 2 };
  for (const [place, count] of Object.entries(expected)) {
    if (transports[place] !== count) throw new Error(`no chain: ${JSON.stringify(transports)}`);
  }
  for (const each of Object.values(ways)) {
    // A pipe is there, but its first packets may have been too early for who is behind it.
    await until('a packet comes through', () => each().then(() => true));
  }
  return ways;
}

/**
 * @typedef {object} Leg  a socket and its transport
 * @property {dgram.Socket} socket
 * @property {import('mediasoup').types.PlainTransport} transport
 * @property {string} place  the worker that it is on
 */

/**
 * One on each worker, that of the first pod first.
 * @param {import('../lib/scope.js').Owner} owner
 * @param {import('../lib/pod.js').Pod[]} pods
 * @param {import('mediasoup').types.Router} router
 */
async function threeLegs(owner, pods, router) {
  /** @type {Leg[]} */
  const legs = [];
  for (let i = 0; i < 3; i++) {
    const before = await loads(pods);
    const socket = await socketOf(owner);
    const transport = await router.createPlainTransport({ listenInfo });
    await transport.connect({ ip: '127.0.0.1', port: socket.address().port });
    await connect(socket, {
      address: transport.tuple.localAddress,
      port: transport.tuple.localPort,
    });
    const after = await loads(pods);
    const place = Object.keys(after).find((place) => after[place] > before[place]);
    if (!place) throw new Error('the transport is on no worker');
    legs.push({ socket, transport, place });
  }
  return legs.sort((a, b) => (a.place < b.place ? -1 : 1));
}

/**
 * How many transports each worker has.
 * @param {import('../lib/pod.js').Pod[]} pods
 */
async function loads(pods) {
  /** @type {Record<string, number>} */
  const found = {};
  for (const [pod, { workers }] of (await Promise.all(pods.map((pod) => pod.status()))).entries()) {
    for (const [worker, { carries }] of workers.entries()) {
      found[`pod ${pod} worker ${worker}`] = carries.transports;
    }
  }
  return found;
}

/**
 * @param {import('mediasoup').types.Router} router
 * @param {number} ssrc
 * @param {Leg} from
 * @param {Leg} to
 * @param {(producerId: string) => Promise<void>} [before]  what must be there before it is consumed
 */
async function startWay({ rtpCapabilities }, ssrc, from, to, before = async () => {}) {
  const rtpParameters = { ...opus(ssrc), mid: String(ssrc) };
  const producer = await from.transport.produce({ kind: 'audio', rtpParameters });
  await before(producer.id);
  await to.transport.consume({ producerId: producer.id, rtpCapabilities });
  return way(from.socket, to.socket, ssrc);
}

/**
 * @param {dgram.Socket} from
 * @param {dgram.Socket} to
 * @param {number} ssrc
 * @returns {Way}
 */
function way(from, to, ssrc) {
  let index = 0;
  return () =>
    new Promise((resolve, reject) => {
      const end = (/** @type {() => void} */ settle) => {
        clearTimeout(timer);
        to.off('message', arrived);
        settle();
      };
      const arrived = (/** @type {Buffer} */ bytes) => {
        const micros = (performance.now() - begin) * 1e3;
        if (!isRtcp(bytes)) end(() => resolve(micros));
      };
      const timer = setTimeout(() => end(() => reject(new Error('a packet is lost'))), 1000);
      to.on('message', arrived);
      const bytes = packet(ssrc, index++);
      const begin = performance.now();
      from.send(bytes);
    });
}

/** @param {import('../lib/scope.js').Owner} owner */
async function socketOf(owner) {
  const socket = dgram.createSocket('udp4');
  scopeOf(owner).after(() => socket.close());
  socket.bind(0, '127.0.0.1');
  await event(socket, 'listening');
  return socket;
}

/**
 * @param {dgram.Socket} socket
 * @param {{ address: string, port: number }} to
 */
async function connect(socket, { address, port }) {
  const connected = event(socket, 'connect');
  socket.connect(port, address);
  await connected;
}
