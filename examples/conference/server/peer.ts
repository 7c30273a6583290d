/** One participant: its two transports and what it sends and receives. */
import { randomUUID } from 'node:crypto';

import type { types as mediasoup } from 'mediasoup';

import type { Event, PeerInfo, ProducerInfo, Requests, Source } from '../shared/protocol.ts';
import { RequestError } from './errors.ts';
import type { ProducerAppData, Room } from './room.ts';

type Direction = 'send' | 'recv';
type Answer<M extends keyof Requests> = Promise<Requests[M]['answer']>;

/** What a peer said of itself when it joined. */
interface Joined {
  name: string;
  rtpCapabilities: mediasoup.RtpCapabilities;
}

const KIND_OF_SOURCE = { microphone: 'audio', camera: 'video', screen: 'video' } as const;
const START_BITRATE = 1_000_000;
const CHAT_MAX_MESSAGE_BYTES = 16_384;

export class Peer {
  readonly id = randomUUID();
  readonly producers = new Map<string, mediasoup.Producer>();
  readonly send: (event: Event) => void;
  chat: mediasoup.DataProducer | null = null;

  readonly #room: Room;
  readonly #transports = new Map<Direction, mediasoup.WebRtcTransport>();
  readonly #consumers = new Map<string, mediasoup.Consumer>();
  #joined: Joined | null = null;
  #left = false;

  constructor(room: Room, send: (event: Event) => void) {
    this.#room = room;
    this.send = send;
  }

  get joined(): boolean {
    return this.#joined !== null;
  }

  get routerRtpCapabilities(): Requests['enter']['answer']['routerRtpCapabilities'] {
    // The server's library types one header extension that the page's does not: same JSON.
    return this.#room.router
      .rtpCapabilities as Requests['enter']['answer']['routerRtpCapabilities'];
  }

  info(): PeerInfo {
    return {
      id: this.id,
      name: this.#joined?.name ?? '',
      producers: [...this.producers.values()].map(producerInfo),
      chatId: this.chat?.id ?? null,
    };
  }

  leave(): void {
    this.#left = true;
    for (const transport of this.#transports.values()) transport.close();
    this.#room.leave(this);
  }

  /** A second transport of one direction replaces the first. */
  async createTransport(direction: Direction, tcp: boolean): Answer<'createTransport'> {
    const { router, listenInfos } = this.#room;
    const transport = await router.createWebRtcTransport({
      listenInfos: tcp ? listenInfos.filter(({ protocol }) => protocol === 'tcp') : listenInfos,
      preferUdp: true,
      enableSctp: true,
      maxReceiveMessageSize: CHAT_MAX_MESSAGE_BYTES,
      initialAvailableOutgoingBitrate: START_BITRATE,
    });
    if (this.#left) {
      transport.close();
      throw new RequestError('notFound', 'you have left the room');
    }
    this.#transports.get(direction)?.close();
    this.#transports.set(direction, transport);
    transport.on('dtlsstatechange', (state) => {
      if (state === 'failed' || state === 'closed') this.#mediaLost();
    });
    const { id, iceParameters, iceCandidates, dtlsParameters, sctpParameters } = transport;
    if (!sctpParameters) throw new Error('the transport came without SCTP');
    return { id, iceParameters, iceCandidates, dtlsParameters, sctpParameters };
  }

  async connectTransport(id: string, dtlsParameters: mediasoup.DtlsParameters): Promise<null> {
    await this.#transportById(id).connect({ dtlsParameters });
    return null;
  }

  async restartIce(id: string): Answer<'restartIce'> {
    return this.#transportById(id).restartIce();
  }

  join(name: string, rtpCapabilities: mediasoup.RtpCapabilities): Requests['join']['answer'] {
    if (this.#joined) throw new RequestError('badRequest', 'you have already joined');
    this.#joined = { name, rtpCapabilities };
    this.#room.tell({ event: 'peerJoined', data: this.info() }, this);
    return { peers: this.#room.others(this) };
  }

  async produce(
    source: Source,
    paused: boolean,
    rtpParameters: mediasoup.RtpParameters,
  ): Answer<'produce'> {
    this.#mustHaveJoined();
    if ([...this.producers.values()].some((producer) => sourceOf(producer) === source)) {
      throw new RequestError('badRequest', `your ${source} is already being sent`);
    }
    const appData: ProducerAppData = { peerId: this.id, source };
    const kind = KIND_OF_SOURCE[source];
    const producer = await this.#transport('send').produce({
      kind,
      rtpParameters,
      paused,
      appData,
    });
    this.producers.set(producer.id, producer);
    producer.observer.once('close', () => this.#producerClosed(producer));
    producer.on('score', (scores) => {
      const score = Math.max(0, ...scores.map((layer) => layer.score));
      this.send({ event: 'producerScore', data: { producerId: producer.id, score } });
    });
    if (kind === 'audio') await this.#room.listenTo(producer);
    this.#room.tell(
      { event: 'producerAdded', data: { peerId: this.id, producer: producerInfo(producer) } },
      this,
    );
    return { id: producer.id };
  }

  async setProducerPaused(producerId: string, paused: boolean): Promise<null> {
    const producer = found(this.producers.get(producerId), 'producer');
    await (paused ? producer.pause() : producer.resume());
    const data = { peerId: this.id, producerId, paused };
    this.#room.tell({ event: 'producerPaused', data }, this);
    return null;
  }

  closeProducer(producerId: string): null {
    found(this.producers.get(producerId), 'producer').close();
    return null;
  }

  async consume(producerId: string): Answer<'consume'> {
    const { rtpCapabilities } = this.#mustHaveJoined();
    found(this.#room.producer(producerId), 'producer');
    if (!this.#room.router.canConsume({ producerId, rtpCapabilities })) {
      throw new RequestError('badRequest', 'this browser cannot play that codec');
    }
    const consumer = await this.#transport('recv').consume({
      producerId,
      rtpCapabilities,
      paused: true,
    });
    const { id, kind } = consumer;
    const rtpParameters = consumer.rtpParameters as Requests['consume']['answer']['rtpParameters'];
    this.#consumers.set(id, consumer);
    consumer.observer.once('close', () => this.#consumers.delete(id));
    consumer.on('score', ({ score, producerScore }) =>
      this.send({ event: 'consumerScore', data: { consumerId: id, score, producerScore } }),
    );
    consumer.on('layerschange', (layers) => {
      const spatialLayer = layers?.spatialLayer ?? null;
      this.send({ event: 'consumerLayer', data: { consumerId: id, spatialLayer } });
    });
    return { id, kind, rtpParameters };
  }

  async setConsumerPaused(consumerId: string, paused: boolean): Promise<null> {
    const consumer = found(this.#consumers.get(consumerId), 'consumer');
    await (paused ? consumer.pause() : consumer.resume());
    return null;
  }

  async setPreferredLayer(consumerId: string, spatialLayer: number): Promise<null> {
    await found(this.#consumers.get(consumerId), 'consumer').setPreferredLayers({ spatialLayer });
    return null;
  }

  async openChat(sctpStreamParameters: mediasoup.SctpStreamParameters): Answer<'openChat'> {
    this.#mustHaveJoined();
    if (this.chat) throw new RequestError('badRequest', 'your chat is already open');
    const chat = await this.#transport('send').produceData({ sctpStreamParameters, label: 'chat' });
    this.chat = chat;
    this.#room.tell({ event: 'chatOpened', data: { peerId: this.id, chatId: chat.id } }, this);
    return { id: chat.id };
  }

  async followChat(chatId: string): Answer<'followChat'> {
    found(this.#room.chat(chatId), 'chat');
    const consumer = await this.#transport('recv').consumeData({ dataProducerId: chatId });
    const { id, sctpStreamParameters } = consumer;
    if (!sctpStreamParameters) throw new Error('the chat came without an SCTP stream');
    return { id, sctpStreamParameters };
  }

  #mustHaveJoined(): Joined {
    if (!this.#joined) throw new RequestError('badRequest', 'join first');
    return this.#joined;
  }

  #transport(direction: Direction): mediasoup.WebRtcTransport {
    return found(this.#transports.get(direction), `transport to ${direction}`);
  }

  #transportById(id: string): mediasoup.WebRtcTransport {
    const all = [...this.#transports.values()];
    return found(
      all.find((transport) => transport.id === id),
      'transport',
    );
  }

  /** The way to this page has ended, by itself or with the worker that it went to. */
  #mediaLost(): void {
    if (this.#left) return;
    this.send({ event: 'mediaLost', data: { reason: 'your media connection has gone' } });
    this.leave();
  }

  #producerClosed(producer: mediasoup.Producer): void {
    this.producers.delete(producer.id);
    if (this.#left) return; // 'peerLeft' says it all.
    const data = { peerId: this.id, producerId: producer.id };
    this.#room.tell({ event: 'producerRemoved', data }, this);
  }
}

function producerInfo(producer: mediasoup.Producer): ProducerInfo {
  const { id, kind, paused } = producer;
  return { id, kind, paused, source: sourceOf(producer) };
}

function sourceOf(producer: mediasoup.Producer): Source {
  return (producer.appData as ProducerAppData).source;
}

function found<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new RequestError('notFound', `there is no such ${what}`);
  return value;
}
