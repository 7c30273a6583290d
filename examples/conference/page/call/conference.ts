/** Stays in the room: when a session is lost, enters again by itself, with the same tracks. */
import type { ErrorCode, Source } from '../../shared/protocol.ts';
import { Emitter } from '../emitter.ts';
import type { LocalMedia } from './local-media.ts';
import { Session, type SessionOptions } from './session.ts';
import { RefusedError } from './signalling.ts';

const FIRST_RETRY_MS = 300;
const LAST_RETRY_MS = 5_000;
const PASSING: ErrorCode[] = ['unavailable', 'internal', 'notFound'];

export interface ConferenceEvents {
  /** A session is being prepared: listen to it now. */
  session: Session;
  joined: Session;
  /** Not in the room for the moment. */
  interrupted: { reason: string };
  /** Not in the room for good. */
  refused: { reason: string };
}

export class Conference extends Emitter<ConferenceEvents> {
  readonly #options: SessionOptions;
  readonly #media: LocalMedia;
  #session: Session | null = null;
  #publishing: Promise<void> = Promise.resolve();
  #left = false;

  constructor(options: SessionOptions, media: LocalMedia) {
    super();
    this.#options = options;
    this.#media = media;
    media.on('changed', (source) => this.#publish(source));
  }

  get session(): Session | null {
    return this.#session;
  }

  async join(): Promise<void> {
    for (let wait = FIRST_RETRY_MS; !this.#left; wait = Math.min(wait * 2, LAST_RETRY_MS)) {
      try {
        return this.#joined(await Session.start(this.#options, (s) => this.emit('session', s)));
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        if (!passes(error)) return this.emit('refused', { reason });
        this.emit('interrupted', { reason });
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }

  leave(): void {
    this.#left = true;
    this.#session?.end();
    this.#session = null;
    this.#media.closeAll();
  }

  #joined(session: Session): void {
    if (this.#left) return session.end();
    this.#session = session;
    session.on('lost', ({ reason }) => {
      this.#session = null;
      this.emit('interrupted', { reason });
      void this.join();
    });
    this.emit('joined', session);
    for (const source of this.#media.sources()) this.#publish(source);
  }

  /** Brings what is sent of a source in line with what is captured, one change after another. */
  #publish(source: Source): void {
    this.#publishing = this.#publishing
      .then(() => this.#align(source))
      .catch((error: unknown) => console.warn(`cannot send the ${source}:`, error));
  }

  async #align(source: Source): Promise<void> {
    const session = this.#session;
    const track = this.#media.track(source);
    if (!session) return;
    if (!track) return session.unpublish(source);
    if (session.producers.get(source)?.track !== track) await session.publish(source, track);
    if (source === 'microphone') await session.setPaused(source, this.#media.muted);
  }
}

/** Whether trying again can help: the server is starting, or its media went while we entered. */
function passes(error: unknown): boolean {
  return error instanceof RefusedError && PASSING.includes(error.code);
}
