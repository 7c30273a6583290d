// Audio between members of one virtual worker: what goes in comes out, once and in order.
import assert from 'node:assert/strict';
import test from 'node:test';
import { flowThrough } from '../lib/flow.js';
import { rtpPacket } from '../lib/frames.js';
import { indexOf, opus, packet, parse, sendAndAwait } from '../lib/rtp.js';
import { event, until } from '../lib/until.js';
import { areApart, control, directTransports, startSpread } from '../lib/virtual.js';
import { connectClient } from '../lib/webrtc-client.js';

const PACKETS = 200;

for (const { name, args } of [
  { name: 'plain', args: [] },
  { name: 'SRTP', args: ['--pipe-srtp', 'on'] },
  { name: 'RTX', args: ['--pipe-rtx', 'on'] },
  { name: 'SRTP and RTX', args: ['--pipe-srtp', 'on', '--pipe-rtx', 'on'] },
]) {
  // Protects the pipes themselves, in every setting: all members to all others at once.
  test(`RTP between direct transports on three members, none lost (pipes: ${name})`, async (t) => {
    const { pod, router } = await startSpread(t, { args });
    const { rtpCapabilities } = router;
    const transports = await directTransports(pod, router, 3);
    const producers = await Promise.all(
      transports.map((transport, i) =>
        transport.produce({ kind: 'audio', rtpParameters: opus(1000 + i) }),
      ),
    );
    /** @type {Promise<unknown>[]} */
    const flows = [];
    for (const [i, producer] of producers.entries()) {
      const consumers = await Promise.all(
        transports.map((transport) =>
          transport.consume({ producerId: producer.id, rtpCapabilities }),
        ),
      );
      for (const [j, consumer] of consumers.entries()) {
        /** @type {number[]} */
        const received = [];
        consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
        // One of them sends for all.
        const send = j === 0 ? (index) => producer.send(packet(1000 + i, index)) : () => {};
        flows.push(sendAndAwait(PACKETS, send, received));
      }
    }
    await Promise.all(flows);
  });
}

// Protects the way of a plain transport's client: another member's port, the same packets.
test('RTP over UDP from a plain transport to one on another member', async (t) => {
  const { pod, router } = await startSpread(t);
  const { flow, inward, outward } = await flowThrough(t, router, {
    ssrc: 1111,
    rtpParameters: opus(1111),
    interval: 5,
  });
  await areApart(pod, inward, outward);
  await until('packets arrive', async () => (await flow.report()).received > PACKETS);
  flow.stop();
  const { sent } = await flow.report();
  await until('all arrived', async () => (await flow.report()).received === sent);
  const { lost, doubled, disordered, maxTransit } = await flow.report();
  assert.deepEqual({ lost, doubled, disordered }, { lost: [], doubled: 0, disordered: 0 });
  t.diagnostic(`${sent} packets, longest on the way ${maxTransit.toFixed(1)} ms`);
});

// Protects WebRTC clients of different members: each speaks with its own member's port.
test('RTP over DTLS-SRTP from a client to one on another member', async (t) => {
  const { pod, router } = await startSpread(t);
  const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];
  const [from, to] = [
    await router.createWebRtcTransport({ listenInfos }),
    await router.createWebRtcTransport({ listenInfos }),
  ];
  await areApart(pod, from, to);
  const ports = [from, to].map(({ iceCandidates }) => iceCandidates[0].port);
  if (!control) assert.notEqual(ports[0], ports[1]);
  const [sender, receiver] = await Promise.all([connectClient(t, from), connectClient(t, to)]);
  const producer = await from.produce({ kind: 'audio', rtpParameters: opus(1111) });
  const consumer = await to.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  /** @type {number[]} */
  const received = [];
  receiver.onRtp = ({ ssrc, payload }) => {
    assert.equal(ssrc, consumer.rtpParameters.encodings?.[0].ssrc);
    received.push(indexOf(payload));
  };
  await sendAndAwait(PACKETS, (i) => sender.sendRtp(packet(1111, i)), received);
  const [produced] = await producer.getStats();
  assert.equal(produced.packetCount, PACKETS);
  const stats = await consumer.getStats();
  const types = stats.map(({ type }) => type).sort();
  assert.deepEqual(types, ['inbound-rtp', 'outbound-rtp'], 'as on one worker');
  for (const { packetCount } of stats) assert.equal(packetCount, PACKETS);
});

/**
 * A producer and a consumer on another member, and the numbers that came.
 * @param {test.TestContext} t
 */
async function pair(t) {
  const { pod, router } = await startSpread(t);
  const [near, far] = await directTransports(pod, router, 2);
  const producer = await near.produce({ kind: 'audio', rtpParameters: opus(1111) });
  const consumer = await far.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  /** @type {number[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
  let next = 0;
  const send = (/** @type {number} */ count) => {
    for (let i = 0; i < count; i++) producer.send(packet(1111, next++));
  };
  /** Sends on until something new arrives; returns its number. */
  const sendOn = async () => {
    const before = received.length;
    await until('it flows again', () => {
      send(1);
      return received.length > before;
    });
    return received[before];
  };
  return { producer, consumer, received, send, sendOn };
}

// Protects pauses: one that is confirmed lets nothing through, its end loses a packet or two.
test('a producer is paused and resumed within two packets, for a consumer far away', async (t) => {
  const { producer, consumer, received, send, sendOn } = await pair(t);
  send(20);
  await until('all came', () => received.length === 20);
  await Promise.all([event(consumer, 'producerpause'), producer.pause()]);
  assert.equal(consumer.producerPaused, true);
  send(20);
  await Promise.all([event(consumer, 'producerresume'), producer.resume()]);
  assert.equal(consumer.producerPaused, false);
  const first = await sendOn();
  assert.ok(first >= 40 && first <= 42, `the first after the pause is ${first}`);
});

// The same for the last leg alone: the producer and others go on.
test('a consumer is paused and resumed within two packets, far from its producer', async (t) => {
  const { producer, consumer, received, send, sendOn } = await pair(t);
  send(20);
  await until('all came', () => received.length === 20);
  await consumer.pause();
  send(20);
  await until('the producer has them', async () => {
    const [stats] = await producer.getStats();
    return stats.packetCount === 40;
  });
  await consumer.resume();
  const first = await sendOn();
  // What was under way through the pipe when the consumer was resumed may come.
  assert.ok(first >= 38 && first <= 42, `the first after the pause is ${first}`);
});

// Protects consumers of what is paused already: no packet before, none lost after.
test('a producer that begins paused: consumers far away hear it when it is resumed', async (t) => {
  const { pod, router } = await startSpread(t);
  const [near, far] = await directTransports(pod, router, 2);
  const producer = await near.produce({
    kind: 'audio',
    rtpParameters: opus(1111),
    paused: true,
  });
  const consumer = await far.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
    paused: true,
  });
  assert.deepEqual([consumer.paused, consumer.producerPaused], [true, true]);
  /** @type {number[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
  for (let i = 0; i < 5; i++) producer.send(packet(1111, i));
  await Promise.all([event(consumer, 'producerresume'), producer.resume()]);
  await consumer.resume();
  let next = 5;
  await until('it flows', () => {
    producer.send(packet(1111, next++));
    return received.length > 0;
  });
  assert.ok(received[0] >= 5 && received[0] <= 7, `the first is ${received[0]}`);
});

// Protects `ignoreDtx`: silence crosses the pipe, and the last leg alone leaves it out.
test('DTX: who ignores it gets speech alone, everyone else all', async (t) => {
  const { pod, router } = await startSpread(t);
  const { rtpCapabilities } = router;
  const [near, far] = await directTransports(pod, router, 2);
  const producer = await near.produce({
    kind: 'audio',
    rtpParameters: {
      ...opus(1111),
      codecs: [
        {
          mimeType: 'audio/opus',
          payloadType: 100,
          clockRate: 48000,
          channels: 2,
          parameters: { usedtx: 1 },
        },
      ],
    },
  });
  const sizes = async (/** @type {boolean} */ ignoreDtx) => {
    const consumer = await far.consume({ producerId: producer.id, rtpCapabilities, ignoreDtx });
    /** @type {number[]} */
    const received = [];
    consumer.on('rtp', (bytes) => received.push(parse(bytes).payload.length));
    return received;
  };
  const [all, speech] = [await sizes(false), await sizes(true)];
  // A payload of nothing but its first byte is silence.
  const lengths = [50, 1, 1, 51, 52, 1, 53];
  for (const [i, length] of lengths.entries()) {
    const payload = Buffer.alloc(length, 0x78);
    producer.send(
      rtpPacket({
        payloadType: 100,
        ssrc: 1111,
        sequenceNumber: i,
        timestamp: i * 960,
        payload,
      }),
    );
  }
  await until('all came', () => all.length === lengths.length && speech.at(-1) === 53);
  assert.deepEqual(all, lengths);
  assert.deepEqual(speech, [50, 51, 52, 53]);
});

// Protects `closed` events of things on other members.
test('what is closed ends its consumers on all members', async (t) => {
  const { pod, router } = await startSpread(t);
  const { rtpCapabilities } = router;
  const [near, middle, far] = await directTransports(pod, router, 3);
  const make = async () => {
    const producer = await near.produce({ kind: 'audio', rtpParameters: opus(2222) });
    const consumers = await Promise.all(
      [near, middle, far].map((transport) =>
        transport.consume({ producerId: producer.id, rtpCapabilities }),
      ),
    );
    return { producer, consumers };
  };
  const first = await make();
  const ends = first.consumers.map((consumer) => event(consumer, 'producerclose'));
  first.producer.close();
  await Promise.all(ends);

  const second = await make();
  const others = second.consumers.slice(1).map((consumer) => event(consumer, 'producerclose'));
  near.close();
  await Promise.all(others);
  assert.ok(second.consumers.every(({ closed }) => closed));
});
