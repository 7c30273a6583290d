// What becomes of each request that mediasoup's library sends to a worker. The library is as it is:
// this only looks on where it sends.
import { AsyncLocalStorage } from 'node:async_hooks';
import { createRequire } from 'node:module';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { WorkerClosedError } from 'mediasoup/errors';

const require = createRequire(import.meta.url);
// Not exported, but these are what the library uses.
const library = path.dirname(require.resolve('mediasoup'));
const { Channel } = require(path.join(library, 'Channel.js'));
const { Method } = require(path.join(library, 'fbs/request.js'));

/** A living worker that has not answered after that time will not, milliseconds. */
const PATIENCE = 60_000;

/** @typedef {{ method: string, since: number, lost: boolean }} Pending */

export class Requests {
  /** Requests of whom is under way. @type {AsyncLocalStorage<Set<Pending>>} */
  #owners = new AsyncLocalStorage();
  /** @type {Set<Pending>} */
  #pending = new Set();
  #counts = { sent: 0, answered: 0, rejected: 0, cut: 0, strays: 0 };
  #slowest = 0;
  /** @type {string[]} */
  #lost = [];
  /** How often each reason was given. @type {Record<string, number>} */
  #reasons = {};

  constructor() {
    const requests = this;
    const { request } = Channel.prototype;
    Channel.prototype.request = function (method, ...more) {
      const answer = request.call(this, method, ...more);
      requests.#sent(Method[method], answer);
      return answer;
    };
  }

  /**
   * Runs something whose requests, and those of all that follows from it, are counted as the owner's.
   * @template T
   * @param {Set<Pending>} owner
   * @param {() => T} action
   */
  of(owner, action) {
    return this.#owners.run(owner, action);
  }

  /** @param {string} method @param {Promise<unknown>} answer */
  #sent(method, answer) {
    const pending = { method, since: performance.now(), lost: false };
    const owner = this.#owners.getStore();
    this.#counts.sent++;
    this.#pending.add(pending);
    owner?.add(pending);
    const is = (/** @type {'answered' | 'rejected' | 'cut'} */ what) => {
      this.#counts[what]++;
      this.#pending.delete(pending);
      owner?.delete(pending);
      if (what !== 'cut') {
        this.#slowest = Math.max(this.#slowest, performance.now() - pending.since);
      }
    };
    answer.then(
      () => is('answered'),
      (error) => {
        is(error instanceof WorkerClosedError ? 'cut' : 'rejected');
        if (!(error instanceof WorkerClosedError)) this.#because(method, error);
      },
    );
  }

  /** @param {string} method @param {Error} error */
  #because(method, error) {
    const text = error.message.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, 'ID');
    const reason = `${method}: ${text}`;
    this.#reasons[reason] = (this.#reasons[reason] ?? 0) + 1;
  }

  /** Counts those that wait too long. They are lost also if an answer comes after all. */
  #look() {
    for (const pending of this.#pending) {
      if (pending.lost || performance.now() - pending.since < PATIENCE) continue;
      pending.lost = true;
      this.#lost.push(pending.method);
    }
  }

  /**
   * Done when nothing of the owner waits for an answer, or what waits is lost.
   * @param {Set<Pending>} owner
   */
  async settled(owner) {
    for (;;) {
      this.#look();
      if ([...owner].every(({ lost }) => lost)) return;
      await delay(20);
    }
  }

  /**
   * Rejects when one of the owner's is lost: nobody should wait for it. Done at the end.
   * @param {Set<Pending>} owner
   * @param {Promise<unknown>} end
   */
  async oneLost(owner, end) {
    let over = false;
    end.then(() => (over = true));
    while (!over) {
      this.#look();
      if ([...owner].some(({ lost }) => lost)) throw new Error('no answer came');
      await delay(1000);
    }
    await new Promise(() => {});
  }

  /** @param {string} text  what the library logs as an error */
  sawError(text) {
    if (text.includes('does not match any sent request')) this.#counts.strays++;
  }

  numbers() {
    this.#look();
    return {
      ...this.#counts,
      pending: this.#pending.size,
      lost: this.#lost,
      slowestMs: Math.round(this.#slowest),
      reasons: this.#reasons,
    };
  }
}
