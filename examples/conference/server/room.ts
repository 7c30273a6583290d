/** One room: a router, the peers in it, and who is speaking. */
import type { types as mediasoup } from 'mediasoup';

import type { Event, PeerInfo, Source } from '../shared/protocol.ts';
import { mediaCodecs } from './codecs.ts';
import { RequestError } from './errors.ts';
import { Peer } from './peer.ts';
import type { Workers } from './workers.ts';

const MOST_PEERS = 100;
/** dBov: quieter than this is nobody speaking. */
const SPEAKING_THRESHOLD = -60;
const SPEAKING_INTERVAL_MS = 400;

/** What every producer carries: whose it is, and of what. */
export interface ProducerAppData extends Record<string, unknown> {
  peerId: string;
  source: Source;
}

export class Room {
  readonly router: mediasoup.Router;
  readonly listenInfos: mediasoup.TransportListenInfo[];
  readonly #levels: mediasoup.AudioLevelObserver;
  readonly #dominance: mediasoup.ActiveSpeakerObserver;
  readonly #peers = new Set<Peer>();
  readonly #onClose: () => void;

  static async create(
    workers: Workers,
    listenInfos: mediasoup.TransportListenInfo[],
    onClose: () => void,
  ): Promise<Room> {
    const router = await workers.createRouter({ mediaCodecs });
    try {
      const levels = await router.createAudioLevelObserver({
        maxEntries: 12,
        threshold: SPEAKING_THRESHOLD,
        interval: SPEAKING_INTERVAL_MS,
      });
      const dominance = await router.createActiveSpeakerObserver();
      return new Room(router, listenInfos, levels, dominance, onClose);
    } catch (error) {
      router.close();
      throw error;
    }
  }

  private constructor(
    router: mediasoup.Router,
    listenInfos: mediasoup.TransportListenInfo[],
    levels: mediasoup.AudioLevelObserver,
    dominance: mediasoup.ActiveSpeakerObserver,
    onClose: () => void,
  ) {
    this.router = router;
    this.listenInfos = listenInfos;
    this.#levels = levels;
    this.#dominance = dominance;
    this.#onClose = onClose;
    router.once('workerclose', () => this.#mediaLost());
    levels.on('volumes', (volumes) =>
      this.tell({
        event: 'speaking',
        data: volumes.map(({ producer, volume }) => ({ peerId: peerOf(producer), volume })),
      }),
    );
    levels.on('silence', () => this.tell({ event: 'speaking', data: [] }));
    dominance.on('dominantspeaker', ({ producer }) =>
      this.tell({ event: 'activeSpeaker', data: { peerId: peerOf(producer) } }),
    );
  }

  get closed(): boolean {
    return this.router.closed;
  }

  /** A new peer that the others do not see before it joins. */
  enter(send: (event: Event) => void): Peer {
    if (this.#peers.size >= MOST_PEERS) {
      throw new RequestError('full', `this room is full: ${MOST_PEERS} people are in it`);
    }
    const peer = new Peer(this, send);
    this.#peers.add(peer);
    return peer;
  }

  leave(peer: Peer): void {
    if (!this.#peers.delete(peer)) return;
    this.tell({ event: 'peerLeft', data: { peerId: peer.id } });
    if (this.#peers.size === 0) this.#close();
  }

  /** Those whom `peer` sees on joining. */
  others(peer: Peer): PeerInfo[] {
    return [...this.#peers]
      .filter((other) => other.joined && other !== peer)
      .map((other) => other.info());
  }

  producer(id: string): mediasoup.Producer | undefined {
    return find(this.#peers, (peer) => peer.producers.get(id));
  }

  chat(id: string): mediasoup.DataProducer | undefined {
    return find(this.#peers, (peer) => (peer.chat?.id === id ? peer.chat : undefined));
  }

  async listenTo(producer: mediasoup.Producer): Promise<void> {
    const { id: producerId } = producer;
    await Promise.all([
      this.#levels.addProducer({ producerId }),
      this.#dominance.addProducer({ producerId }),
    ]);
  }

  /** To everyone who has joined, but for one. */
  tell(event: Event, except?: Peer): void {
    for (const peer of this.#peers) if (peer.joined && peer !== except) peer.send(event);
  }

  #close(): void {
    this.router.close();
    this.#onClose();
  }

  #mediaLost(): void {
    const data = { reason: 'the media server of this room has gone' };
    for (const peer of this.#peers) peer.send({ event: 'mediaLost', data });
    this.#peers.clear();
    this.#onClose();
  }
}

function peerOf(producer: mediasoup.Producer): string {
  return (producer.appData as ProducerAppData).peerId;
}

function find<T>(peers: Iterable<Peer>, pick: (peer: Peer) => T | undefined): T | undefined {
  for (const peer of peers) {
    const found = pick(peer);
    if (found) return found;
  }
  return undefined;
}
