// One call: somebody who sends, and those who receive, each by a plain transport of their own. They
// are clients: they go on whatever becomes of the application, which tells them where to send to.
import dgram from 'node:dgram';
import { once } from 'node:events';
import { indexOf, isRtcp, opus, packet, parse } from '../../lib/rtp.js';
import { ownAddressTowards } from './own-address.mjs';

/** A packet that has not arrived after that time is lost, milliseconds. */
const LATE = 1000;

export class Call {
  #ssrc;
  #socket;
  /** @type {Receiver[]} */
  #receivers;
  /** Where to send to. @type {{ localAddress: string, localPort: number } | undefined} */
  #to;
  #next = 0;

  /**
   * @param {number} ssrc
   * @param {number} consumers
   */
  static async open(ssrc, consumers) {
    const receivers = await Promise.all(Array.from({ length: consumers }, () => Receiver.open()));
    return new Call(ssrc, await udpSocket(), receivers);
  }

  /** @param {number} ssrc @param {dgram.Socket} socket @param {Receiver[]} receivers */
  constructor(ssrc, socket, receivers) {
    this.#ssrc = ssrc;
    this.#socket = socket;
    this.#receivers = receivers;
  }

  /**
   * Makes the call on a router; done when every consumer gets packets.
   * @param {import('mediasoup').types.Router} router
   */
  async join(router) {
    const listenInfo = /** @type {const} */ ({ protocol: 'udp', ip: '0.0.0.0' });
    // No `comedia`: a port may be one that the sender of another call still sends to.
    const inward = await router.createPlainTransport({ listenInfo });
    const ip = await ownAddressTowards(inward.tuple.localAddress, inward.tuple.localPort);
    await inward.connect({ ip, port: this.#socket.address().port });
    const rtpParameters = opus(this.#ssrc);
    const producer = await inward.produce({ kind: 'audio', rtpParameters });
    await Promise.all(
      this.#receivers.map(async (receiver) => {
        const outward = await router.createPlainTransport({ listenInfo });
        await outward.connect({ ip, port: receiver.port });
        const { rtpCapabilities } = router;
        await outward.consume({ producerId: producer.id, rtpCapabilities });
      }),
    );
    const flowing = this.#receivers.map((receiver) => receiver.gets(this.#next));
    this.#to = inward.tuple;
    await Promise.all(flowing);
  }

  /** Sends the next packet. */
  send() {
    if (!this.#to) return;
    for (const receiver of this.#receivers) receiver.expect(this.#next);
    // Nobody may be there: then the packet is lost, and the receivers say so.
    const { localPort, localAddress } = this.#to;
    this.#socket.send(packet(this.#ssrc, this.#next++), localPort, localAddress, () => {});
  }

  /** What each consumer got. */
  numbers() {
    return this.#receivers.map((receiver) => receiver.numbers());
  }

  /** Whether packets are under way that may still arrive. */
  waits() {
    return this.#receivers.some((receiver) => receiver.waits());
  }
}

class Receiver {
  #socket;
  /** When each packet that has not arrived was sent, oldest first. @type {Map<number, number>} */
  #missing = new Map();
  #sent = 0;
  #received = 0;
  #lastArrival = 0;
  #gap = 0;
  /** @type {{ from: number, flowing: () => void } | undefined} */
  #awaited;

  static async open() {
    return new Receiver(await udpSocket());
  }

  /** @param {dgram.Socket} socket */
  constructor(socket) {
    this.#socket = socket;
    socket.on('message', (bytes) => this.#arrived(bytes));
  }

  get port() {
    return this.#socket.address().port;
  }

  /** @param {number} index */
  expect(index) {
    this.#sent++;
    this.#missing.set(index, performance.now());
  }

  /**
   * Resolves when a packet of that number or a later one arrives.
   * @param {number} from
   * @returns {Promise<void>}
   */
  gets(from) {
    return new Promise((flowing) => (this.#awaited = { from, flowing }));
  }

  /** @param {Buffer} bytes */
  #arrived(bytes) {
    if (isRtcp(bytes)) return;
    const index = indexOf(parse(bytes).payload);
    if (this.#received === 0) this.#forgetBefore(index);
    if (!this.#missing.delete(index)) return;
    const now = performance.now();
    if (this.#received > 0) this.#gap = Math.max(this.#gap, now - this.#lastArrival);
    this.#lastArrival = now;
    this.#received++;
    if (this.#awaited && index >= this.#awaited.from) {
      this.#awaited.flowing();
      this.#awaited = undefined;
    }
  }

  /** What was sent before the way was there counts for nothing. @param {number} index */
  #forgetBefore(index) {
    for (const early of this.#missing.keys()) {
      if (early >= index) break;
      this.#missing.delete(early);
      this.#sent--;
    }
  }

  numbers() {
    const now = performance.now();
    const since = this.#received > 0 ? now - this.#lastArrival : 0;
    const gap = Math.max(this.#gap, since);
    this.#gap = 0;
    if (this.#received === 0) return { sent: 0, received: 0, lost: 0, gap: 0 };
    let lost = 0;
    for (const sentAt of this.#missing.values()) {
      if (sentAt > now - LATE) break;
      lost++;
    }
    return { sent: this.#sent, received: this.#received, lost, gap };
  }

  waits() {
    const newest = [...this.#missing.values()].pop();
    return newest !== undefined && newest > performance.now() - LATE;
  }
}

async function udpSocket() {
  const socket = dgram.createSocket('udp4').bind(0);
  await once(socket, 'listening');
  return socket;
}
