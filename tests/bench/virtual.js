// How long an application waits for a virtual worker of four members, against a local worker: in turn
// within one run, as in latency.js.
import { createWorker } from '../lib/application.js';
import { startVirtualPod } from '../lib/pod.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { compare } from './statistics.js';

const MEMBERS = 4;
const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/** @typedef {{ create: number[], produceConsume: number[], consume: number[] }} Times  milliseconds */

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {import('mediasoup').types.Worker} local
 * @param {NodeJS.ProcessEnv} env  of the relays
 * @param {number} rounds
 */
export async function virtualLatency(owner, local, env, rounds) {
  /** @type {Record<string, ReturnType<typeof compare>>} */
  const result = {};
  for (const placement of /** @type {const} */ (['pack', 'spread'])) {
    const pod = await startVirtualPod(owner, {
      workers: MEMBERS,
      args: ['--placement', placement],
    });
    const worker = await createWorker(owner, pod, {}, { env });
    const sides = [await side(local), await side(worker)];
    // Under `spread` the two transports of a side are on two members.
    const crosses = placement === 'spread';
    await sides[1].once();
    const { virtualWorkers } = await (await pod.get('/v1/topology')).json();
    const [{ pipes }] = virtualWorkers;
    if (pipes.length > 0 !== crosses) throw new Error(`${placement}: ${pipes.length} pipes`);
    for (let i = 0; i < rounds / 10; i++) for (const each of sides) await each.once();
    for (const each of sides) each.forget();
    for (let i = 0; i < rounds; i++) {
      for (const each of i % 2 ? sides : [...sides].reverse()) await each.once();
    }
    const [l, v] = sides.map(({ times }) => times);
    if (crosses) {
      result.crossConsume = compare(l.consume, v.consume);
      result.crossProduceConsume = compare(l.produceConsume, v.produceConsume);
      const cold = [
        await firstConsumes(local, rounds / 10),
        await firstConsumes(worker, rounds / 10),
      ];
      result.firstCrossConsume = compare(cold[0], cold[1]);
    } else {
      result.createAndClose = compare(l.create, v.create);
      result.produceConsume = compare(l.produceConsume, v.produceConsume);
    }
    for (const { router } of sides) router.close();
    worker.close();
    await pod.stop();
  }
  return result;
}

/** @param {import('mediasoup').types.Worker} worker */
async function side(worker) {
  const router = await worker.createRouter({ mediaCodecs });
  const from = await router.createWebRtcTransport({ listenInfos });
  const to = await router.createWebRtcTransport({ listenInfos });
  /** @type {Times} */
  const none = { create: [], produceConsume: [], consume: [] };
  let ssrc = 1;
  return {
    router,
    times: structuredClone(none),
    async once() {
      const begin = performance.now();
      const transport = await router.createWebRtcTransport({ listenInfos });
      transport.close();
      // Answered after the close has been carried out.
      await router.dump();
      const created = performance.now();
      const producer = await from.produce({ kind: 'audio', rtpParameters: opus(ssrc++) });
      const produced = performance.now();
      await to.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities });
      const consumed = performance.now();
      producer.close();
      await router.dump();
      this.times.create.push(created - begin);
      this.times.produceConsume.push(consumed - created);
      this.times.consume.push(consumed - produced);
    },
    forget() {
      this.times = structuredClone(none);
    },
  };
}

/**
 * Consumes in new routers: across members, each waits for a new pipe.
 * @param {import('mediasoup').types.Worker} worker
 * @param {number} rounds
 */
async function firstConsumes(worker, rounds) {
  const times = [];
  for (let i = 0; i < rounds; i++) {
    const router = await worker.createRouter({ mediaCodecs });
    const from = await router.createWebRtcTransport({ listenInfos });
    const to = await router.createWebRtcTransport({ listenInfos });
    const producer = await from.produce({ kind: 'audio', rtpParameters: opus(1) });
    const begin = performance.now();
    await to.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities });
    times.push(performance.now() - begin);
    router.close();
  }
  return times;
}
