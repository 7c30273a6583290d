// A virtual worker whose transports lie on different members, and what the pod tells of it.
import assert from 'node:assert/strict';
import { createWorker } from './application.js';
import { startVirtualPod } from './pod.js';
import { mediaCodecs } from './rtp.js';
import { until } from './until.js';

/**
 * With MAFALDA_MODE=real the same tests run on one real worker, as far as they are not about
 * members: that shows what "as on one worker" means.
 */
export const control = process.env.MAFALDA_MODE === 'real';

/**
 * @typedef {object} Pipe
 * @property {string} router
 * @property {number} source  the member that media comes from
 * @property {number} target
 * @property {string[]} producers  ids, of data producers too
 * @property {number} consumers
 * @property {boolean} srtp
 * @property {boolean} rtx
 * @property {number | null} bytes
 * @property {number | null} bytesPerSecond
 *
 * @typedef {object} VirtualTransport
 * @property {string} id
 * @property {string} router
 * @property {number} member
 * @property {string} kind
 * @property {number} producers
 * @property {number} consumers
 *
 * @typedef {object} VirtualWorker
 * @property {number} id
 * @property {{ id: string, members: number[] }[]} routers
 * @property {VirtualTransport[]} transports
 * @property {{ id: string, router: string, member: number, producers: number }[]} observers
 * @property {Pipe[]} pipes
 *
 * @typedef {object} Topology
 * @property {{ member: number, worker: number, pid: number, cpu: number }[]} members
 * @property {VirtualWorker[]} virtualWorkers
 * @property {{ sourcePod: string, targetPod: string, pipes: number, producers: number,
 *   bytes: number, bytesPerSecond: number }[]} betweenPods
 */

/**
 * A pod that places one transport after the other on another worker.
 * @param {import('./scope.js').Owner} owner
 * @param {import('./pod.js').PodOptions} [options]  3 workers unless told
 */
export function startSpreadPod(owner, { workers = 3, args = [], ...options } = {}) {
  return startVirtualPod(owner, { workers, args: ['--placement', 'spread', ...args], ...options });
}

/**
 * An application with one router on such a pod.
 * @param {import('./scope.js').Owner} owner
 * @param {import('./pod.js').PodOptions & {
 *   mediaCodecs?: import('mediasoup').types.RouterRtpCodecCapability[] }} [options]
 */
export async function startSpread(owner, { mediaCodecs: codecs = mediaCodecs, ...options } = {}) {
  const pod = await startSpreadPod(owner, options);
  const worker = await createWorker(owner, pod);
  const router = await worker.createRouter({ mediaCodecs: codecs });
  return { pod, worker, router };
}

/**
 * `/v1/topology`, as JSON.
 * @param {import('./pod.js').Pod} pod
 * @returns {Promise<Topology>}
 */
export async function topologyOf(pod) {
  const response = await pod.get('/v1/topology');
  if (!response.ok) throw new Error(`/v1/topology: ${response.status} ${await response.text()}`);
  return response.json();
}

/**
 * All pipes of a router.
 * @param {import('./pod.js').Pod} pod
 * @param {{ id: string }} router
 */
export async function pipesOf(pod, { id }) {
  const { virtualWorkers } = await topologyOf(pod);
  return virtualWorkers.flatMap(({ pipes }) => pipes).filter(({ router }) => router === id);
}

/**
 * The members that carry these transports, in the same order.
 * @param {import('./pod.js').Pod} pod
 * @param {...{ id: string }} transports
 */
export async function membersOf(pod, ...transports) {
  const { virtualWorkers } = await topologyOf(pod);
  const all = virtualWorkers.flatMap((worker) => worker.transports);
  return transports.map(({ id }) => {
    const found = all.find((transport) => transport.id === id);
    assert.ok(found, `the topology has transport ${id}`);
    return found.member;
  });
}

/**
 * Makes sure that each of these transports is on another member.
 * @param {import('./pod.js').Pod} pod
 * @param {...{ id: string }} transports
 */
export async function areApart(pod, ...transports) {
  if (control) return;
  const members = await membersOf(pod, ...transports);
  assert.equal(new Set(members).size, members.length, `members ${members.join(', ')}`);
}

/**
 * Ends a member's process by SIGKILL.
 * @param {import('./pod.js').Pod} pod
 * @param {number} member
 */
export async function killMember(pod, member) {
  const { members } = await topologyOf(pod);
  const found = members.find((other) => other.member === member);
  assert.ok(found, `the topology has member ${member}`);
  process.kill(found.pid, 'SIGKILL');
  return found;
}

/**
 * Direct transports, each on another member.
 * @param {import('./pod.js').Pod} pod
 * @param {import('mediasoup').types.Router} router
 * @param {number} count
 */
export async function directTransports(pod, router, count) {
  const transports = [];
  for (let i = 0; i < count; i++) transports.push(await router.createDirectTransport());
  await areApart(pod, ...transports);
  return transports;
}

/**
 * Waits until the router's pipes carry exactly these producers to these members. Pipes without
 * producers, which are about to go, do not count.
 * @param {import('./pod.js').Pod} pod
 * @param {{ id: string }} router
 * @param {{ producer: { id: string }, target: number }[]} expected
 */
export async function pipesAre(pod, router, expected) {
  const sorted = (/** @type {string[]} */ pairs) => [...pairs].sort();
  const wanted = sorted(expected.map(({ producer, target }) => `${producer.id} to ${target}`));
  await until('the pipes are the pairs of producers and members that want them', async () => {
    const pipes = await pipesOf(pod, router);
    const pairs = pipes.flatMap(({ producers, target }) =>
      producers.map((id) => `${id} to ${target}`),
    );
    assert.deepEqual(sorted(pairs), wanted);
    return true;
  });
}
