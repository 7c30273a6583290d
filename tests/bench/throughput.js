// How much passes in a second: small requests, many under way at once, and RTP packets of a
// direct transport, there and back.
import { mediaCodecs, opus, packet } from '../lib/rtp.js';
import { quantile, round } from './statistics.js';

const AT_ONCE = 64;

/**
 * @param {import('mediasoup').types.Worker} local
 * @param {import('mediasoup').types.Worker} remote
 * @param {number} slices  of half a second, of each kind and side
 */
export async function throughput(local, remote, slices) {
  const workers = { local, remote };
  const kinds = { requests: requestsFor, rtp: rtpFor };
  /** @type {Record<string, any>} */
  const result = {};
  for (const [kind, measure] of Object.entries(kinds)) {
    /** @type {Record<string, number[]>} */
    const seen = { local: [], remote: [] };
    for (let i = 0; i < slices; i++) {
      for (const side of i % 2 ? ['local', 'remote'] : ['remote', 'local']) {
        seen[side].push(await measure(workers[side], 500));
      }
    }
    const [l, r] = [quantile(seen.local, 0.5), quantile(seen.remote, 0.5)];
    result[kind] = {
      localPerSecond: Math.round(l),
      remotePerSecond: Math.round(r),
      ratio: round(r / l),
    };
  }
  return result;
}

/**
 * @param {import('mediasoup').types.Worker} worker
 * @param {number} milliseconds
 */
async function requestsFor(worker, milliseconds) {
  const begin = performance.now();
  let answered = 0;
  const lane = async () => {
    while (performance.now() - begin < milliseconds) {
      await worker.dump();
      answered++;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
  return (answered / (performance.now() - begin)) * 1000;
}

/**
 * @param {import('mediasoup').types.Worker} worker
 * @param {number} milliseconds
 */
async function rtpFor(worker, milliseconds) {
  const router = await worker.createRouter({ mediaCodecs });
  const direct = await router.createDirectTransport();
  const producer = await direct.produce({ kind: 'audio', rtpParameters: opus(1) });
  const consumer = await direct.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  let sent = 0;
  let received = 0;
  const begin = performance.now();
  const perSecond = new Promise((resolve) => {
    const more = () => {
      // A window of packets under way, as the requests have one.
      while (sent - received < AT_ONCE) producer.send(packet(1, sent++));
    };
    consumer.on('rtp', () => {
      received++;
      if (performance.now() - begin < milliseconds) more();
      else resolve((received / (performance.now() - begin)) * 1000);
    });
    more();
  });
  const result = await perSecond;
  router.close();
  return result;
}
