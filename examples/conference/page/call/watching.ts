/** Asks the server for as much of each video as is seen: its layer by size, nothing when hidden. */
import type { types as mediasoup } from 'mediasoup-client';

import { TOP_LAYER } from './encodings.ts';
import type { Signalling } from './signalling.ts';

/** Widths in device pixels up to which a layer is enough; the last layer is for all above. */
const LAYER_WIDTHS = [320, 800];

interface Watched {
  seen: boolean;
  layer: number;
  /** What the server was told last. */
  told: { seen: boolean; layer: number };
}

export class Watching {
  readonly #signalling: Signalling;
  readonly #watched = new Map<string, Watched>();

  constructor(signalling: Signalling) {
    this.#signalling = signalling;
  }

  /** Starts the flow of a consumer that has just been made. */
  begin(consumer: mediasoup.Consumer): void {
    consumer.observer.once('close', () => this.#watched.delete(consumer.id));
    this.#tell(consumer.id, this.#watch(consumer.id));
  }

  /** `width` in CSS pixels; 0 when the video is out of sight. */
  see({ id }: mediasoup.Consumer, width: number): void {
    const watched = this.#watch(id);
    watched.seen = width > 0;
    if (width > 0) watched.layer = layerFor(width * devicePixelRatio);
    this.#tell(id, watched);
  }

  #watch(consumerId: string): Watched {
    const known = this.#watched.get(consumerId);
    if (known) return known;
    const fresh = { seen: true, layer: TOP_LAYER, told: { seen: false, layer: TOP_LAYER } };
    this.#watched.set(consumerId, fresh);
    return fresh;
  }

  #tell(consumerId: string, { seen, layer, told }: Watched): void {
    const requests = [];
    if (seen !== told.seen) {
      told.seen = seen;
      requests.push(
        this.#signalling.request(seen ? 'resumeConsumer' : 'pauseConsumer', { consumerId }),
      );
    }
    if (seen && layer !== told.layer) {
      told.layer = layer;
      requests.push(
        this.#signalling.request('setPreferredLayer', { consumerId, spatialLayer: layer }),
      );
    }
    // A consumer that has gone meanwhile needs no answer.
    void Promise.allSettled(requests);
  }
}

function layerFor(width: number): number {
  const layer = LAYER_WIDTHS.findIndex((most) => width <= most);
  return layer === -1 ? TOP_LAYER : layer;
}
