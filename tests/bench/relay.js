// What a relay costs: its start and its memory.
import { memory } from '../lib/memory.js';
import { quantile, round } from './statistics.js';

/**
 * @param {{ local: () => Promise<import('mediasoup').types.Worker>, remote: () => Promise<import('mediasoup').types.Worker> }} create
 * @param {number} rounds
 */
export async function relayStart(create, rounds) {
  /** @type {Record<string, number[]>} */
  const times = { local: [], remote: [] };
  for (let i = 0; i < rounds; i++) {
    for (const side of /** @type {const} */ (['local', 'remote'])) {
      const begin = performance.now();
      const worker = await create[side]();
      times[side].push(performance.now() - begin);
      const gone = new Promise((resolve) =>
        worker.once('subprocessclose', () => resolve(undefined)),
      );
      worker.close();
      await gone;
    }
  }
  const of = (/** @type {number[]} */ values) => ({
    medianMillis: round(quantile(values, 0.5), 1),
    p99Millis: round(quantile(values, 0.99), 1),
  });
  return { rounds, local: of(times.local), remote: of(times.remote) };
}

/** @param {import('mediasoup').types.Worker} worker  after it was used */
export function relayMemory(worker) {
  const { now, peak } = memory(worker.pid);
  return { residentMiB: round(now, 1), peakMiB: round(peak, 1) };
}
