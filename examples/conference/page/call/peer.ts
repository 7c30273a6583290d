/** Somebody else in the room, and what arrives here of them. */
import type { types as mediasoup } from 'mediasoup-client';

import type { PeerInfo, ProducerInfo, Source } from '../../shared/protocol.ts';

export interface RemoteMedia extends ProducerInfo {
  /** null until the server has answered. */
  consumer: mediasoup.Consumer | null;
  /** 0 (lost) to 10, of the way from the sender to here; null before the first report. */
  score: number | null;
  /** Simulcast layer that arrives now. */
  layer: number | null;
}

export class RemotePeer {
  readonly id: string;
  readonly name: string;
  readonly media = new Map<Source, RemoteMedia>();

  constructor({ id, name }: PeerInfo) {
    this.id = id;
    this.name = name;
  }

  add(producer: ProducerInfo): RemoteMedia {
    const media = { ...producer, consumer: null, score: null, layer: null };
    this.media.set(producer.source, media);
    return media;
  }

  byProducer(producerId: string): RemoteMedia | undefined {
    return [...this.media.values()].find((media) => media.id === producerId);
  }

  byConsumer(consumerId: string): RemoteMedia | undefined {
    return [...this.media.values()].find((media) => media.consumer?.id === consumerId);
  }
}
