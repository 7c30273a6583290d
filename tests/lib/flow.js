// A steady stream of RTP over UDP through plain transports, from a process of its own: its
// clock does not stop while the test is busy.
import { start } from './process.js';
import { event } from './until.js';

/**
 * @typedef {object} FlowReport
 * @property {number} sent  packets
 * @property {number} received  packets, doubled ones not counted
 * @property {number} doubled
 * @property {number} disordered
 * @property {number[]} lost  numbers of the packets that are missing before the last received
 * @property {number} maxGap  longest time between two packets that arrived, milliseconds
 * @property {number} maxTransit  longest time between sending and arrival, milliseconds
 */

/**
 * @param {import('./scope.js').Owner} owner
 * @param {{ netns?: string, interval?: number }} [options]  interval: milliseconds between packets
 */
export async function startFlow(owner, { netns, interval = 10 } = {}) {
  const running = start(
    owner,
    process.execPath,
    [new URL('./flow-process.js', import.meta.url).pathname, String(interval)],
    { netns, ipc: true },
  );
  const [{ port }] = await event(running.child, 'message');
  return new Flow(running, port);
}

class Flow {
  /**
   * @param {import('./process.js').Program} running
   * @param {number} port
   */
  constructor(running, port) {
    this.program = running;
    /** Where it receives: 127.0.0.1 and this port. */
    this.port = port;
  }

  /**
   * Sends from now on.
   * @param {{ localAddress: string, localPort: number }} tuple  of the transport that produces
   * @param {number} ssrc
   */
  send({ localAddress, localPort }, ssrc) {
    this.program.child.send({ send: { address: localAddress, port: localPort, ssrc } });
  }

  /** Sends nothing more. */
  stop() {
    this.program.child.send({ stop: true });
  }

  /** @returns {Promise<FlowReport>} since it began */
  async report() {
    const answer = event(this.program.child, 'message');
    this.program.child.send({ report: true });
    return (await answer)[0];
  }
}

/**
 * Sends a flow through a router: into one plain transport, out of another one.
 * @param {import('./scope.js').Owner} owner
 * @param {import('mediasoup').types.Router} router
 * @param {{ ssrc: number, rtpParameters: import('mediasoup').types.RtpParameters, netns?: string, interval?: number }} options
 */
export async function flowThrough(owner, router, { ssrc, rtpParameters, netns, interval }) {
  const listenInfo = /** @type {const} */ ({ protocol: 'udp', ip: '127.0.0.1' });
  const flow = await startFlow(owner, { netns, interval });
  const inward = await router.createPlainTransport({ listenInfo, comedia: true });
  const outward = await router.createPlainTransport({ listenInfo });
  await outward.connect({ ip: '127.0.0.1', port: flow.port });
  const producer = await inward.produce({ kind: 'audio', rtpParameters });
  const consumer = await outward.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  flow.send(inward.tuple, ssrc);
  return { flow, inward, outward, producer, consumer };
}
