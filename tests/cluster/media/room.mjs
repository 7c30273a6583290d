// room.mjs: an ordinary mediasoup application with one room: somebody sends voice and video into it,
// and people come and go who receive both, each by a plain transport of their own. The worker is what
// MEDIASOUP_WORKER_BIN names; when it dies, everything is made anew on another.
//
// It does what each line of its input says, and prints a line of JSON when that is done:
//   join N [SECOND]   N more people, so many a second (all at once)
//   leave N           the last N people leave
//   hear              looks for two seconds who receives both
//   silence | sound   nothing is sent any more, or again
//   count             `hit`, `asked`, `answered` and `waited` are counted anew
//   ask N             asks its worker something N times a second; 0: no more, done when nothing is pending
// {"t": 1800000000000, "event": "done", "people": 3, "hearing": 3, "longest": 21, "died": 0, "moved": 0,
//  "hit": [], "asked": 0, "answered": 0, "waited": 0}
//   hearing: people who received voice and video while that was looked at last
//   longest: the longest that somebody who hears got nothing, since it was told last, in milliseconds
//   moved: how often somebody was told that what he receives has ended, and came in by another transport
//   hit: who lost media: was told that it has ended, or got nothing for two seconds; by the transport that it
//     was lost on
//   asked, answered: questions to the worker, and those that it answered; waited: the longest that one took,
//     in milliseconds
// `died` comes by itself, when the worker did, with the reason in `error`; `recovered` when all hear again.
import dgram from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import * as mediasoup from 'mediasoup';
import { vp8 } from '../../lib/frames.js';
import { isRtcp, mediaCodecs, opus, packet, parse } from '../../lib/rtp.js';
import { ownAddressTowards } from './own-address.mjs';

const VOICE = { ssrc: 1, everyMs: 20 };
const VIDEO = { ssrc: 2, everyMs: 40 };
/** Payload types of voice and video. */
const TYPES = mediaCodecs.map(({ preferredPayloadType }) => preferredPayloadType);
/** How long it is looked who hears, milliseconds. */
const LOOK = 2000;
/** Who got nothing for longer has lost media, milliseconds. */
const LOSS = 2000;
/** Until another try to make a worker, milliseconds. */
const RETRY = 200;
/** The longest that the last answers are waited for, milliseconds. */
const ANSWERS = 30_000;

/** @type {import('mediasoup').types.RtpParameters} */
const video = {
  mid: '1',
  codecs: [{ mimeType: 'video/VP8', payloadType: 101, clockRate: 90000 }],
  encodings: [{ ssrc: VIDEO.ssrc }],
  rtcp: { cname: 'room' },
};

async function udpSocket() {
  const socket = dgram.createSocket('udp4').bind(0);
  await once(socket, 'listening');
  return socket;
}

/** Somebody who receives. */
class Person {
  /** Payload types that arrived since it was looked at. @type {Set<number>} */
  heard = new Set();
  /** The longest time without voice or without video. */
  longest = 0;
  /** The transport that media was lost on since that is counted. @type {string | undefined} */
  hitOn;
  /** When each payload type arrived last. @type {Map<number, number>} */
  #last = new Map();
  #socket;
  /** @type {import('mediasoup').types.PlainTransport | undefined} */
  #transport;

  static async come() {
    return new Person(await udpSocket());
  }

  /** @param {dgram.Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.on('message', (bytes) => {
      if (isRtcp(bytes)) return;
      const { payloadType } = parse(bytes);
      // mediasoup probes for bandwidth with others.
      if (!TYPES.includes(payloadType)) return;
      this.heard.add(payloadType);
      const now = performance.now();
      const last = this.#last.get(payloadType) ?? now;
      if (!silent) this.longest = Math.max(this.longest, now - last);
      if (!silent && now - last > LOSS) this.#lose();
      this.#last.set(payloadType, now);
    });
  }

  /** @param {Room} to */
  async receive(to) {
    const { router, producers, ip } = to;
    // Who comes again has lost what he had.
    this.#lose();
    this.#last.clear();
    const listenInfo = /** @type {const} */ ({ protocol: 'udp', ip: '0.0.0.0' });
    this.#transport = await router.createPlainTransport({ listenInfo });
    await this.#transport.connect({ ip, port: this.#socket.address().port });
    const { rtpCapabilities } = router;
    let ended = false;
    for (const { id } of producers) {
      const consumer = await this.#transport.consume({ producerId: id, rtpCapabilities });
      consumer.once('producerclose', () => {
        // The producer lives: what carried it to this transport, or the transport itself, does not.
        if (ended || room !== to || !people.includes(this)) return;
        ended = true;
        moved++;
        this.#transport?.close();
        this.receive(to).catch((error) => tell('failed', { error: String(error) }));
      });
    }
  }

  #lose() {
    this.hitOn ??= this.#transport?.id;
  }

  get hears() {
    return this.heard.size === TYPES.length;
  }

  leave() {
    this.#transport?.close();
    this.#socket.close();
  }
}

/** @typedef {{ router: mediasoup.types.Router, producers: mediasoup.types.Producer[], ip: string, to: mediasoup.types.TransportTuple }} Room */

/** @type {Person[]} */
const people = [];
/** @type {Room | undefined} */
let room;
let silent = false;
let died = 0;
let moved = 0;
let hearing = 0;
/** @type {mediasoup.types.Worker | undefined} */
let current;
/** @type {NodeJS.Timeout | undefined} */
let asking;
let pending = 0;
const answers = { asked: 0, answered: 0, waited: 0 };
const sender = await udpSocket();

/** @param {string} event @param {object} [more] */
function tell(event, more) {
  const longest = Math.round(Math.max(0, ...people.map(({ longest }) => longest)));
  for (const person of people) person.longest = 0;
  const hit = people.flatMap(({ hitOn }) => hitOn ?? []);
  const state = { people: people.length, hearing, longest, died, moved, hit };
  console.log(JSON.stringify({ t: Date.now(), event, ...state, ...answers, ...more }));
}

async function ask() {
  const of = current;
  if (!of || of.closed) return;
  const begun = performance.now();
  answers.asked++;
  pending++;
  // A refusal is an answer, a worker's death is none.
  const answered = await of.getResourceUsage().then(
    () => true,
    () => !of.closed,
  );
  if (answered) answers.answered++;
  pending--;
  answers.waited = Math.max(answers.waited, Math.round(performance.now() - begun));
}

function send(make) {
  let index = 0;
  return () => {
    if (!room || silent) return;
    // Nobody may be there.
    sender.send(make(index++), room.to.localPort, room.to.localAddress, () => {});
  };
}
setInterval(
  send((index) => packet(VOICE.ssrc, index)),
  VOICE.everyMs,
);
setInterval(
  send((index) => {
    const header = packet(VIDEO.ssrc, index).subarray(0, 12);
    header[1] = 0x80 | 101;
    header.writeUInt32BE((index * 3600) >>> 0, 4);
    return Buffer.concat([header, vp8({ isKey: true, frame: index })]);
  }),
  VIDEO.everyMs,
);

/** @param {mediasoup.types.Worker} worker @returns {Promise<Room>} */
async function open(worker) {
  const router = await worker.createRouter({ mediaCodecs });
  const listenInfo = /** @type {const} */ ({ protocol: 'udp', ip: '0.0.0.0' });
  const inward = await router.createPlainTransport({ listenInfo });
  const ip = await ownAddressTowards(inward.tuple.localAddress, inward.tuple.localPort);
  await inward.connect({ ip, port: sender.address().port });
  const producers = [
    await inward.produce({ kind: 'audio', rtpParameters: opus(VOICE.ssrc) }),
    await inward.produce({ kind: 'video', rtpParameters: video }),
  ];
  return { router, producers, ip, to: inward.tuple };
}

/** Looks until everybody hears, or for as long as said. */
async function look(time = LOOK) {
  for (const person of people) person.heard.clear();
  const end = Date.now() + time;
  do {
    await delay(20);
    hearing = people.filter((person) => person.hears).length;
  } while (hearing < people.length && Date.now() < end);
}

/** Holds the room, on one worker after the other. */
async function hold() {
  for (;;) {
    /** @type {mediasoup.types.Worker | undefined} */
    let worker;
    try {
      worker = await mediasoup.createWorker();
      current = worker;
      const dies = new Promise((_, reject) => worker?.once('died', reject));
      const made = (async (worker) => {
        const opened = await open(worker);
        await Promise.all(people.map((person) => person.receive(opened)));
        room = opened;
        if (died > 0) {
          await look(30_000);
          tell('recovered');
        } else {
          tell('ready');
        }
      })(worker);
      await Promise.race([made, dies]);
      await dies;
    } catch (error) {
      room = undefined;
      if (worker?.died) {
        died++;
        tell('died', { error: String(error) });
      } else {
        worker?.close();
        await delay(RETRY);
      }
    }
  }
}

/** @type {Record<string, (...numbers: number[]) => Promise<void>>} */
const commands = {
  async join(count, second = 0) {
    for (let i = 0; i < count; i++) {
      const person = await Person.come();
      if (room) await person.receive(room);
      people.push(person);
      if (second) await delay(1000 / second);
    }
  },
  async leave(count) {
    for (const person of people.splice(Math.max(0, people.length - count))) person.leave();
  },
  hear: () => look(),
  async silence() {
    silent = true;
  },
  async sound() {
    silent = false;
  },
  async count() {
    for (const person of people) person.hitOn = undefined;
    Object.assign(answers, { asked: pending, answered: 0, waited: 0 });
  },
  async ask(times) {
    clearInterval(asking);
    if (times) {
      asking = setInterval(ask, 1000 / times);
      return;
    }
    const end = Date.now() + ANSWERS;
    while (pending > 0 && Date.now() < end) await delay(10);
  },
};

mediasoup.setLogEventListeners({
  onwarn: (namespace, text) => console.error(`${namespace}: ${text}`),
  onerror: (namespace, text) => console.error(`${namespace}: ${text}`),
});
void hold();
for await (const line of createInterface({ input: process.stdin })) {
  const [command, ...numbers] = line.trim().split(/\s+/);
  try {
    await commands[command](...numbers.map(Number));
    tell('done');
  } catch (error) {
    tell('failed', { error: String(error) });
  }
}
process.exit();
