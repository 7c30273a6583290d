// An application's traffic that shows afterwards whether anything was lost or done twice.
import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { indexOf, opus, packet, parse } from './rtp.js';
import { until } from './until.js';

const listenInfo = { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' };

/** @typedef {Awaited<ReturnType<typeof startTraffic>>} Traffic */

/**
 * Requests and notifications, in both directions, until it is told to stop.
 * @param {import('mediasoup').types.Router} router
 */
export async function startTraffic(router) {
  const numbers = await numbersThrough(router);
  const requests = createAndClose(router);
  return {
    /** How much of each kind is done. */
    get done() {
      return { created: requests.created.size, numbers: numbers.received.length };
    },

    /**
     * Waits until `more` of each kind are done.
     * @param {string} what
     * @param {number} more
     */
    async flows(what, more) {
      const { created, numbers } = this.done;
      await until(
        what,
        () => this.done.created >= created + more && this.done.numbers >= numbers + more,
        { within: 30_000 },
      );
    },

    /**
     * Stops, and checks that all of it was carried out once and in order.
     * @param {string[]} [others]  ids of the router's other transports
     */
    async stopAndCheck(others = []) {
      await Promise.all([requests.stop(), numbers.stop()]);
      assert.deepEqual(requests.errors, []);
      // What exists is what was created and not closed.
      const { transportIds } = await router.dump();
      const expected = [...others, numbers.transport.id, ...requests.created];
      assert.deepEqual(
        [...transportIds].sort(),
        expected.filter((id) => !requests.closed.has(id)).sort(),
      );
      await until('the last number came back', () => numbers.received.length >= numbers.sent());
      assert.deepEqual(
        numbers.received,
        Array.from({ length: numbers.sent() }, (_, i) => i),
      );
      return `${requests.created.size} transports created, ${requests.closed.size} closed, ${numbers.sent()} numbered messages there and back: each once`;
    },
  };
}

/**
 * Creates transports all the time, several at once, and closes every second one.
 * @param {import('mediasoup').types.Router} router
 */
function createAndClose(router) {
  const created = new Set();
  const closed = new Set();
  /** @type {unknown[]} */
  const errors = [];
  let stopped = false;
  const lane = async () => {
    while (!stopped) {
      try {
        const transport = await router.createWebRtcTransport({ listenInfos: [listenInfo] });
        assert.ok(!created.has(transport.id), 'answered twice');
        created.add(transport.id);
        if (created.size % 2) {
          closed.add(transport.id);
          transport.close();
        }
      } catch (error) {
        errors.push(error);
      }
      await delay(50);
    }
  };
  const lanes = [1, 2, 3, 4].map(lane);
  return {
    created,
    closed,
    errors,
    stop() {
      stopped = true;
      return Promise.all(lanes);
    },
  };
}

/**
 * Numbered RTP packets to the worker and back, over the connection itself.
 * @param {import('mediasoup').types.Router} router
 */
async function numbersThrough(router) {
  const transport = await router.createDirectTransport();
  const producer = await transport.produce({ kind: 'audio', rtpParameters: opus(2222) });
  const consumer = await transport.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  /** @type {number[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
  let next = 0;
  const timer = setInterval(() => producer.send(packet(2222, next++)), 20);
  return {
    transport,
    received,
    sent: () => next,
    async stop() {
      clearInterval(timer);
    },
  };
}
