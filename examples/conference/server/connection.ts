/** One page's WebSocket: requests in, answers and events out. A bad message gets an error answer. */
import { errors } from 'mediasoup';
import type { RawData, WebSocket } from 'ws';

import {
  limits,
  type Answer,
  type ErrorCode,
  type Event,
  type Method,
  type Requests,
} from '../shared/protocol.ts';
import { RequestError } from './errors.ts';
import { Fields } from './fields.ts';
import type { Peer } from './peer.ts';
import type { Rooms } from './rooms.ts';

const HEARTBEAT_MS = 10_000;
const MOST_REQUESTS_AT_ONCE = 512;
/** A page that reads so slowly that this much waits for it is let go. */
const MOST_WAITING_BYTES = 4 * 1024 * 1024;

type Handlers = {
  [M in Exclude<Method, 'enter'>]: (
    peer: Peer,
    fields: Fields,
  ) => Requests[M]['answer'] | Promise<Requests[M]['answer']>;
};

const handlers: Handlers = {
  createTransport: (peer, fields) =>
    peer.createTransport(fields.oneOf('direction', ['send', 'recv']), fields.flag('tcp')),
  connectTransport: (peer, fields) =>
    peer.connectTransport(fields.text('transportId'), fields.parameters('dtlsParameters')),
  restartIce: (peer, fields) => peer.restartIce(fields.text('transportId')),
  join: (peer, fields) =>
    peer.join(fields.text('name', limits.peerName), fields.parameters('rtpCapabilities')),
  produce: (peer, fields) =>
    peer.produce(
      fields.oneOf('source', ['microphone', 'camera', 'screen']),
      fields.flag('paused'),
      fields.parameters('rtpParameters'),
    ),
  pauseProducer: (peer, fields) => peer.setProducerPaused(fields.text('producerId'), true),
  resumeProducer: (peer, fields) => peer.setProducerPaused(fields.text('producerId'), false),
  closeProducer: (peer, fields) => peer.closeProducer(fields.text('producerId')),
  consume: (peer, fields) => peer.consume(fields.text('producerId')),
  pauseConsumer: (peer, fields) => peer.setConsumerPaused(fields.text('consumerId'), true),
  resumeConsumer: (peer, fields) => peer.setConsumerPaused(fields.text('consumerId'), false),
  setPreferredLayer: (peer, fields) =>
    peer.setPreferredLayer(fields.text('consumerId'), fields.wholeNumber('spatialLayer', 7)),
  openChat: (peer, fields) => peer.openChat(fields.parameters('sctpStreamParameters')),
  followChat: (peer, fields) => peer.followChat(fields.text('chatId')),
};

export class Connection {
  readonly #socket: WebSocket;
  readonly #rooms: Rooms;
  readonly #heartbeat: NodeJS.Timeout;
  #peer: Peer | null = null;
  #entering = false;
  #requests = 0;
  #heard = true;

  constructor(socket: WebSocket, rooms: Rooms) {
    this.#socket = socket;
    this.#rooms = rooms;
    this.#heartbeat = setInterval(() => this.#beat(), HEARTBEAT_MS);
    socket.on('message', (message) => void this.#receive(message));
    socket.on('pong', () => (this.#heard = true));
    socket.on('error', (error) => console.error(`connection: ${error.message}`));
    socket.on('close', () => {
      clearInterval(this.#heartbeat);
      this.#leave();
    });
  }

  async #receive(message: RawData): Promise<void> {
    this.#heard = true;
    let id: number | null = null;
    this.#requests += 1;
    try {
      const request = new Fields(parse(message));
      id = request.wholeNumber('id', Number.MAX_SAFE_INTEGER);
      if (this.#requests > MOST_REQUESTS_AT_ONCE) {
        throw new RequestError('badRequest', 'too many requests at once');
      }
      const data = await this.#handle(request.text('method'), request.parameters('data'));
      this.#send({ id, ok: true, data });
    } catch (error) {
      this.#send({ id, ok: false, error: explain(error) });
    } finally {
      this.#requests -= 1;
    }
  }

  async #handle(method: string, data: object): Promise<Requests[Method]['answer']> {
    const fields = new Fields(data);
    if (method === 'enter') return this.#enter(fields.text('room', limits.roomName));
    if (!Object.hasOwn(handlers, method)) {
      throw new RequestError('badRequest', `there is no method '${method}'`);
    }
    if (!this.#peer) throw new RequestError('badRequest', 'enter a room first');
    return handlers[method as keyof Handlers](this.#peer, fields);
  }

  /** Entering a room leaves the one before. */
  async #enter(room: string): Promise<Requests['enter']['answer']> {
    if (this.#entering) throw new RequestError('badRequest', 'you are already entering a room');
    this.#leave();
    this.#entering = true;
    try {
      const peer = await this.#rooms.enter(room, (event) => this.#send(event));
      this.#peer = peer;
      // The page may have gone while the room was being made.
      if (this.#socket.readyState !== this.#socket.OPEN) this.#leave();
      return { peerId: peer.id, routerRtpCapabilities: peer.routerRtpCapabilities };
    } finally {
      this.#entering = false;
    }
  }

  #leave(): void {
    this.#peer?.leave();
    this.#peer = null;
  }

  #send(message: Answer | Event): void {
    if (this.#socket.readyState !== this.#socket.OPEN) return;
    if (this.#socket.bufferedAmount > MOST_WAITING_BYTES) this.#socket.terminate();
    else this.#socket.send(JSON.stringify(message));
  }

  #beat(): void {
    if (!this.#heard) return this.#socket.terminate();
    this.#heard = false;
    this.#socket.ping();
  }
}

/** ws gives a message as one Buffer unless told otherwise. */
function parse(message: RawData): unknown {
  try {
    return JSON.parse((message as Buffer).toString());
  } catch {
    throw new RequestError('badMessage', 'a message must be JSON');
  }
}

function explain(error: unknown): { code: ErrorCode; message: string } {
  if (error instanceof RequestError) return { code: error.code, message: error.message };
  if (error instanceof TypeError || error instanceof errors.UnsupportedError) {
    // What mediasoup says of parameters that do not fit.
    return { code: 'badRequest', message: error.message };
  }
  if (error instanceof errors.WorkerClosedError) {
    return { code: 'unavailable', message: 'the media server has gone' };
  }
  console.error('request failed:', error);
  return { code: 'internal', message: 'the server could not do this' };
}
