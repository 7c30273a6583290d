// How long an application waits for a remote worker, against a local one. Both are asked in
// turn within one run: machines drift, and only interleaved rounds compare.
import { compare } from './statistics.js';

const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/**
 * @param {import('mediasoup').types.Worker} local
 * @param {import('mediasoup').types.Worker} remote
 * @param {number} rounds
 */
export async function latency(local, remote, rounds) {
  const sides = await Promise.all(
    [local, remote].map(async (worker) => new Side(worker, await worker.createRouter())),
  );
  for (let i = 0; i < rounds / 10; i++) for (const side of sides) await side.once();
  for (const side of sides) side.forget();
  for (let i = 0; i < rounds; i++) {
    for (const side of i % 2 ? sides : [...sides].reverse()) await side.once();
  }
  const [l, r] = sides;
  for (const { router } of sides) router.close();
  return { createAndClose: compare(l.create, r.create), dump: compare(l.dump, r.dump) };
}

class Side {
  /** @type {number[]} */
  create = [];
  /** @type {number[]} */
  dump = [];

  /**
   * @param {import('mediasoup').types.Worker} worker
   * @param {import('mediasoup').types.Router} router
   */
  constructor(worker, router) {
    this.worker = worker;
    this.router = router;
  }

  async once() {
    const begin = performance.now();
    const transport = await this.router.createWebRtcTransport({ listenInfos });
    transport.close();
    // Answered after the close has been carried out.
    await this.worker.dump();
    const middle = performance.now();
    await this.worker.dump();
    this.create.push(middle - begin);
    this.dump.push(performance.now() - middle);
  }

  forget() {
    this.create = [];
    this.dump = [];
  }
}
