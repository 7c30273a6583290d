/** The mediasoup workers. One that dies is replaced; whoever used it hears of it by its own events. */
import { setTimeout } from 'node:timers/promises';

import { createWorker, type types as mediasoup } from 'mediasoup';

import { RequestError } from './errors.ts';

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 5_000;

export class Workers {
  readonly #routers = new Map<mediasoup.Worker, number>();
  #stopping = false;

  /** Resolves once the first of `count` workers is ready; keeps trying until then. */
  async start(count: number): Promise<void> {
    await Promise.race(Array.from({ length: count }, () => this.#startOne()));
  }

  /** A router on the worker that has the fewest. */
  async createRouter(options: mediasoup.RouterOptions): Promise<mediasoup.Router> {
    const [least] = [...this.#routers].sort(([, a], [, b]) => a - b);
    if (!least) throw new RequestError('unavailable', 'no media worker is ready yet');
    const [worker] = least;
    this.#count(worker, 1);
    try {
      const router = await worker.createRouter(options);
      router.observer.once('close', () => this.#count(worker, -1));
      return router;
    } catch (error) {
      this.#count(worker, -1);
      throw error;
    }
  }

  stop(): void {
    this.#stopping = true;
    for (const worker of this.#routers.keys()) worker.close();
  }

  #count(worker: mediasoup.Worker, change: number): void {
    const routers = this.#routers.get(worker);
    if (routers !== undefined) this.#routers.set(worker, routers + change);
  }

  async #startOne(): Promise<void> {
    for (let wait = FIRST_RETRY_MS; !this.#stopping; wait = Math.min(wait * 2, LAST_RETRY_MS)) {
      try {
        this.#keep(await createWorker({ logLevel: 'warn' }));
        return;
      } catch (error) {
        console.error(`no media worker (${String(error)}), trying again in ${wait} ms`);
        // Not what keeps the process alive when it is told to end.
        await setTimeout(wait, undefined, { ref: false });
      }
    }
  }

  #keep(worker: mediasoup.Worker): void {
    if (this.#stopping) return worker.close();
    this.#routers.set(worker, 0);
    worker.observer.once('close', () => this.#routers.delete(worker));
    worker.once('died', (error) => {
      console.error(`media worker died (${error.message}), starting another`);
      void this.#startOne();
    });
  }
}
