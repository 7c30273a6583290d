/**
 * One stay in a room, from entering to losing it: what is sent, who else is there and what
 * arrives of them. After a loss a new session is made (see conference.ts).
 */
import { Device, type types as mediasoup } from 'mediasoup-client';

import type { Events, PeerInfo, ProducerInfo, Source } from '../../shared/protocol.ts';
import { Emitter } from '../emitter.ts';
import { Chat, type ChatMessage } from './chat.ts';
import { produceOptions } from './encodings.ts';
import { RemotePeer, type RemoteMedia } from './peer.ts';
import { Signalling } from './signalling.ts';
import { createTransports, type SendAppData } from './transports.ts';
import { Watching } from './watching.ts';

export interface SessionEvents {
  peerJoined: RemotePeer;
  peerLeft: RemotePeer;
  /** Something of this peer's media appeared, went, paused or got another score. */
  mediaChanged: { peer: RemotePeer; source: Source };
  speaking: Events['speaking'];
  activeSpeaker: Events['activeSpeaker'];
  /** How well what is sent from here arrives at the server, 0 to 10. */
  ownScore: { source: Source; score: number };
  chat: ChatMessage;
  lost: { reason: string };
}

export interface SessionOptions {
  room: string;
  name: string;
  tcp: boolean;
}

export class Session extends Emitter<SessionEvents> {
  readonly peerId: string;
  readonly peers = new Map<string, RemotePeer>();
  readonly producers = new Map<Source, mediasoup.Producer>();
  readonly watching: Watching;
  readonly send: mediasoup.Transport;
  readonly recv: mediasoup.Transport;
  readonly #signalling: Signalling;
  readonly #chat: Chat;
  /** What the server was told; a producer of a disabled track begins paused by itself. */
  readonly #paused = new Map<Source, boolean>();
  #ended = false;

  /** Throws a RefusedError when the server cannot be reached or does not let us in. */
  static async start(
    { room, name, tcp }: SessionOptions,
    prepare: (session: Session) => void,
  ): Promise<Session> {
    const signalling = await Signalling.open();
    try {
      const { peerId, routerRtpCapabilities } = await signalling.request('enter', { room });
      const device = await Device.factory();
      await device.load({ routerRtpCapabilities });
      let failed = () => {};
      const transports = await createTransports(device, signalling, tcp, () => failed());
      const session = new Session(peerId, signalling, transports);
      failed = () => session.#lose('the media connection failed');
      prepare(session);
      const { recvRtpCapabilities: rtpCapabilities } = device;
      const { peers } = await signalling.request('join', { name, rtpCapabilities });
      for (const peer of peers) session.#peerJoined(peer);
      session.#chat.open();
      return session;
    } catch (error) {
      signalling.close();
      throw error;
    }
  }

  private constructor(
    peerId: string,
    signalling: Signalling,
    { send, recv }: { send: mediasoup.Transport; recv: mediasoup.Transport },
  ) {
    super();
    this.peerId = peerId;
    this.send = send;
    this.recv = recv;
    this.#signalling = signalling;
    this.watching = new Watching(signalling);
    this.#chat = new Chat(signalling, send, recv, (message) => this.emit('chat', message));
    this.#listen(signalling);
  }

  /** Sends a track, or replaces the one that is being sent. */
  async publish(source: Source, track: MediaStreamTrack): Promise<void> {
    const producer = this.producers.get(source);
    if (producer) return producer.replaceTrack({ track });
    const appData: SendAppData = { source, paused: !track.enabled };
    this.#paused.set(source, appData.paused);
    const options = { ...produceOptions(source), track, appData, stopTracks: false };
    this.producers.set(source, await this.send.produce(options));
  }

  async unpublish(source: Source): Promise<void> {
    const producer = this.producers.get(source);
    if (!producer) return;
    this.producers.delete(source);
    producer.close();
    await this.#signalling.request('closeProducer', { producerId: producer.id });
  }

  async setPaused(source: Source, paused: boolean): Promise<void> {
    const producer = this.producers.get(source);
    if (!producer || this.#paused.get(source) === paused) return;
    this.#paused.set(source, paused);
    if (paused) producer.pause();
    else producer.resume();
    const method = paused ? 'pauseProducer' : 'resumeProducer';
    await this.#signalling.request(method, { producerId: producer.id });
  }

  async say(text: string): Promise<void> {
    await this.#chat.say(text);
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.send.close();
    this.recv.close();
    this.#signalling.close();
  }

  #lose(reason: string): void {
    if (this.#ended) return;
    this.end();
    this.emit('lost', { reason });
  }

  #listen(signalling: Signalling): void {
    signalling.on('close', () => this.#lose('the connection to the server was lost'));
    signalling.on('mediaLost', ({ reason }) => this.#lose(reason));
    signalling.on('peerJoined', (peer) => this.#peerJoined(peer));
    signalling.on('peerLeft', ({ peerId }) => this.#peerLeft(peerId));
    signalling.on('producerAdded', ({ peerId, producer }) => {
      const peer = this.peers.get(peerId);
      if (peer) void this.#consume(peer, producer);
    });
    signalling.on('producerPaused', ({ peerId, producerId, paused }) =>
      this.#change(peerId, producerId, (media) => (media.paused = paused)),
    );
    signalling.on('producerRemoved', ({ peerId, producerId }) =>
      this.#change(peerId, producerId, (media, peer) => {
        peer.media.delete(media.source);
        media.consumer?.close();
      }),
    );
    signalling.on('chatOpened', ({ peerId, chatId }) => {
      const peer = this.peers.get(peerId);
      if (peer) void this.#chat.follow(peer, chatId);
    });
    signalling.on('consumerScore', ({ consumerId, score, producerScore }) =>
      this.#changeConsumer(consumerId, (media) => (media.score = Math.min(score, producerScore))),
    );
    signalling.on('consumerLayer', ({ consumerId, spatialLayer }) =>
      this.#changeConsumer(consumerId, (media) => (media.layer = spatialLayer)),
    );
    signalling.on('producerScore', ({ producerId, score }) => {
      for (const [source, producer] of this.producers) {
        if (producer.id === producerId) this.emit('ownScore', { source, score });
      }
    });
    signalling.on('speaking', (speaking) => this.emit('speaking', speaking));
    signalling.on('activeSpeaker', (speaker) => this.emit('activeSpeaker', speaker));
  }

  #peerJoined(info: PeerInfo): void {
    if (this.peers.has(info.id)) return;
    const peer = new RemotePeer(info);
    this.peers.set(peer.id, peer);
    this.emit('peerJoined', peer);
    for (const producer of info.producers) void this.#consume(peer, producer);
    if (info.chatId) void this.#chat.follow(peer, info.chatId);
  }

  #peerLeft(peerId: string): void {
    const peer = this.peers.get(peerId);
    if (!peer) return;
    this.peers.delete(peerId);
    for (const { consumer } of peer.media.values()) consumer?.close();
    this.emit('peerLeft', peer);
  }

  async #consume(peer: RemotePeer, info: ProducerInfo): Promise<void> {
    const media = peer.add(info);
    const { id: producerId, source } = info;
    this.emit('mediaChanged', { peer, source });
    try {
      const parameters = await this.#signalling.request('consume', { producerId });
      const streamId = `${peer.id}/${source === 'screen' ? 'screen' : 'person'}`;
      const consumer = await this.recv.consume({ ...parameters, producerId, streamId });
      if (peer.media.get(source) !== media) return consumer.close();
      media.consumer = consumer;
      this.emit('mediaChanged', { peer, source });
      this.watching.begin(consumer);
    } catch (error) {
      if (!this.#ended) console.warn(`cannot receive the ${source} of ${peer.name}:`, error);
    }
  }

  #change(
    peerId: string,
    producerId: string,
    change: (media: RemoteMedia, peer: RemotePeer) => void,
  ): void {
    const peer = this.peers.get(peerId);
    const media = peer?.byProducer(producerId);
    if (!peer || !media) return;
    change(media, peer);
    this.emit('mediaChanged', { peer, source: media.source });
  }

  #changeConsumer(consumerId: string, change: (media: RemoteMedia) => void): void {
    for (const peer of this.peers.values()) {
      const media = peer.byConsumer(consumerId);
      if (!media) continue;
      change(media);
      this.emit('mediaChanged', { peer, source: media.source });
    }
  }
}
