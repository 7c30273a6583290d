// How long an application in Rust waits for an answer of its remote worker, against one in Node with
// its relay: on one pod, in turn within one run.
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';
import { until } from '../lib/until.js';
import { quantile } from './statistics.js';

const SLICE = 50;
const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/** @typedef {{ create: number[], dump: number[] }} Times  microseconds */

/**
 * @param {import('../lib/scope.js').Owner} owner
 * @param {{ webSocketUrl: string }} pod
 * @param {import('mediasoup').types.Worker} worker  of a Node application on that pod
 * @param {number} rounds
 */
export async function rustLatency(owner, pod, worker, rounds) {
  const rust = start(owner, program('latency'), [], {
    stdin: true,
    env: { MAFALDA_URL: pod.webSocketUrl },
  });
  const router = await worker.createRouter();
  /** @type {Record<'rust' | 'node', Times>} */
  const times = { rust: { create: [], dump: [] }, node: { create: [], dump: [] } };
  for (let slice = -1; slice < rounds / SLICE; slice++) {
    const measured = { rust: await inRust(rust), node: await inNode(worker, router) };
    // The first is for warming up.
    if (slice < 0) continue;
    for (const side of /** @type {const} */ (['rust', 'node'])) {
      for (const call of /** @type {const} */ (['create', 'dump'])) {
        times[side][call].push(...measured[side][call]);
      }
    }
  }
  router.close();
  await rust.stop();
  const compare = (/** @type {'create' | 'dump'} */ call) => ({
    rounds: times.rust[call].length,
    rustMicros: Math.round(quantile(times.rust[call], 0.5)),
    nodeMicros: Math.round(quantile(times.node[call], 0.5)),
  });
  return { create: compare('create'), dump: compare('dump') };
}

/**
 * @param {import('../lib/process.js').Program} rust
 * @returns {Promise<Times>}
 */
async function inRust(rust) {
  const seen = rust.stdout.length;
  rust.child.stdin?.write(`${SLICE}\n`);
  const line = () => rust.stdout.slice(seen);
  await until('the Rust application has measured', () => line().endsWith('\n'), { every: 5 });
  return JSON.parse(line());
}

/**
 * @param {import('mediasoup').types.Worker} worker
 * @param {import('mediasoup').types.Router} router
 */
async function inNode(worker, router) {
  /** @type {Times} */
  const times = { create: [], dump: [] };
  const timed = async (/** @type {number[]} */ into, /** @type {() => Promise<any>} */ call) => {
    const begin = performance.now();
    const result = await call();
    into.push((performance.now() - begin) * 1000);
    return result;
  };
  for (let i = 0; i < SLICE; i++) {
    const transport = await timed(times.create, () =>
      router.createWebRtcTransport({ listenInfos }),
    );
    transport.close();
    // Answered after the close has been carried out.
    await worker.dump();
    await timed(times.dump, () => worker.dump());
  }
  return times;
}
