/** Looks at the connection regularly and writes what it finds on tiles and top bar. */
import type { Conference } from '../call/conference.ts';
import { QualityMeter } from '../call/quality.ts';
import type { Session } from '../call/session.ts';
import type { Tile } from './tile.ts';
import type { TopBar } from './top-bar.ts';

const INTERVAL_MS = 2000;

export class QualityReport {
  readonly #meter = new QualityMeter();
  readonly #conference: Conference;
  readonly #topBar: TopBar;
  readonly #tile: (key: string) => Tile | undefined;
  readonly #timer: number;

  constructor(conference: Conference, topBar: TopBar, tile: (key: string) => Tile | undefined) {
    this.#conference = conference;
    this.#topBar = topBar;
    this.#tile = tile;
    this.#timer = setInterval(() => void this.#look(), INTERVAL_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #look(): Promise<void> {
    const { session } = this.#conference;
    if (!session || document.hidden) return;
    try {
      this.#topBar.setPath(await this.#meter.path(session));
      for (const [key, media] of videos(session)) {
        this.#tile(key)?.setDetails(await this.#meter.track(media));
      }
    } catch (error) {
      // The session, or one of its tracks, ended while we looked.
      console.debug('quality:', error);
    }
  }
}

/** Each video that is sent or received, with the key of its tile. */
function* videos(session: Session) {
  for (const [source, producer] of session.producers) {
    if (producer.kind === 'video')
      yield [source === 'screen' ? 'own/screen' : 'own', producer] as const;
  }
  for (const peer of session.peers.values()) {
    for (const { kind, source, consumer } of peer.media.values()) {
      if (kind !== 'video' || !consumer) continue;
      yield [source === 'screen' ? `${peer.id}/screen` : peer.id, consumer] as const;
    }
  }
}
