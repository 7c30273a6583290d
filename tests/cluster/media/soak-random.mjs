// Random numbers that a seed repeats (mulberry32).

export class Random {
  #state;

  /** @param {number} seed */
  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** At least 0, less than 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  /** @param {number} from @param {number} to */
  between(from, to) {
    return from + (to - from) * this.next();
  }

  /**
   * @template T
   * @param {T[]} all  at least one
   */
  one(all) {
    return all[Math.floor(this.next() * all.length)];
  }

  /** Another row of numbers, for somebody whose turns this one does not count. */
  fork() {
    return new Random(this.next() * 2 ** 32);
  }
}
