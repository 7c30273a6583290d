// Video between members: key frames, simulcast, retransmission and what a producer tells of it.
import assert from 'node:assert/strict';
import test from 'node:test';
import { frameOf, isKeyFrame, layerOf, rtpPacket, vp8 } from '../lib/frames.js';
import { isRtcp, parse } from '../lib/rtp.js';
import { keyFrameRequests, nack, senderReport } from '../lib/rtcp.js';
import { udpPeer } from '../lib/udp.js';
import { event, until } from '../lib/until.js';
import { areApart, directTransports, startSpread } from '../lib/virtual.js';

const PAYLOAD_TYPE = 101;
const FRAME_MS = 20;
const ORIENTATION = { uri: /** @type {const} */ ('urn:3gpp:video-orientation'), id: 4 };

/**
 * Parameters of a VP8 stream with an encoding for each SSRC.
 * @param {number[]} ssrcs
 * @returns {import('mediasoup').types.RtpParameters}
 */
function video(ssrcs) {
  return {
    mid: '1',
    codecs: [
      {
        mimeType: 'video/VP8',
        payloadType: PAYLOAD_TYPE,
        clockRate: 90000,
        rtcpFeedback: [
          { type: 'nack', parameter: '' },
          { type: 'nack', parameter: 'pli' },
          { type: 'ccm', parameter: 'fir' },
        ],
      },
    ],
    headerExtensions: [ORIENTATION],
    encodings: ssrcs.map((ssrc) => ({ ssrc, scalabilityMode: 'L1T1' })),
    rtcp: { cname: 'mafalda-test' },
  };
}

/**
 * A camera: sends a frame of every layer each 20 ms, a key frame where one was asked for.
 * @param {import('mediasoup').types.DirectTransport} transport
 * @param {number[]} ssrcs
 * @param {{ reports?: boolean }} [options]  sends RTCP sender reports, which layers are aligned by
 */
async function camera(transport, ssrcs, { reports = true } = {}) {
  const producer = await transport.produce({ kind: 'video', rtpParameters: video(ssrcs) });
  const wanted = new Set(ssrcs);
  /** SSRCs that key frames were asked of, in order. @type {number[]} */
  const asked = [];
  transport.on('rtcp', (bytes) => {
    for (const ssrc of keyFrameRequests(bytes)) {
      asked.push(ssrc);
      wanted.add(ssrc);
    }
  });
  let frame = 0;
  const send = (extensions = {}) => {
    const timestamp = frame * FRAME_MS * 90;
    for (const [layer, ssrc] of ssrcs.entries()) {
      const payload = vp8({ isKey: wanted.delete(ssrc), layer, frame });
      const header = { payloadType: PAYLOAD_TYPE, ssrc, sequenceNumber: frame, timestamp };
      producer.send(rtpPacket({ ...header, marker: true, extensions, payload }));
      if (reports && frame % 25 === 0) transport.sendRtcp(senderReport(ssrc, timestamp));
    }
    frame++;
  };
  return { producer, asked, send };
}

/**
 * Sends frames until a condition holds.
 * @param {string} what
 * @param {() => unknown} send
 * @param {() => unknown} condition
 */
function sendUntil(what, send, condition) {
  return until(
    what,
    () => {
      send();
      return condition();
    },
    { every: FRAME_MS },
  );
}

// Protects new viewers: their request goes through pipe and members to who can answer it.
test('a request for a key frame reaches the producer through a pipe', async (t) => {
  const { pod, router } = await startSpread(t);
  const [near, far] = await directTransports(pod, router, 2);
  const { producer, asked, send } = await camera(near, [1111]);
  send();
  const consumer = await far.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  /** @type {Buffer[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(parse(bytes).payload));
  await sendUntil('the viewer sees', send, () => received.length > 5);
  assert.ok(isKeyFrame(received[0]), 'the first is a key frame');
  assert.ok(asked.length > 0, 'it was asked for');

  const before = asked.length;
  await consumer.requestKeyFrame();
  await sendUntil('another is asked for', send, () => asked.length > before);
  const keys = received.filter(isKeyFrame).length;
  await sendUntil('it arrives', send, () => received.filter(isKeyFrame).length > keys);
  assert.deepEqual([...new Set(asked)], [1111], 'by the SSRC that the sender knows');
});

for (const count of [2, 3]) {
  // Protects simulcast: all layers cross the pipe, the last leg chooses.
  test(`a consumer switches between ${count} simulcast layers of a producer far away`, async (t) => {
    const { pod, router } = await startSpread(t);
    const [near, far] = await directTransports(pod, router, 2);
    const ssrcs = [1111, 2222, 3333].slice(0, count);
    const { producer, send } = await camera(near, ssrcs);
    assert.equal(producer.type, 'simulcast');
    const consumer = await far.consume({
      producerId: producer.id,
      rtpCapabilities: router.rtpCapabilities,
    });
    assert.equal(consumer.type, 'simulcast');
    /** @type {{ layer: number, sequenceNumber: number, frame: number }[]} */
    const received = [];
    consumer.on('rtp', (bytes) => {
      const { ssrc, sequenceNumber, payload } = parse(bytes);
      assert.equal(ssrc, consumer.rtpParameters.encodings?.[0].ssrc);
      const [layer, frame] = [layerOf(payload), frameOf(payload)];
      if (layer !== received.at(-1)?.layer) assert.ok(isKeyFrame(payload), 'begins with a key');
      received.push({ layer, frame, sequenceNumber });
    });
    /** @type {(number | undefined)[]} */
    const told = [];
    consumer.on('layerschange', (layers) => told.push(layers?.spatialLayer));
    const shows = (/** @type {number} */ layer) =>
      sendUntil(
        `layer ${layer} is shown`,
        send,
        () => received.at(-1)?.layer === layer && told.at(-1) === layer,
      );

    await shows(count - 1);
    for (const layer of [0, count - 1, count - 2]) {
      await consumer.setPreferredLayers({ spatialLayer: layer });
      await shows(layer);
      assert.equal(consumer.currentLayers?.spatialLayer, layer);
    }
    // One stream for the viewer: numbers without a gap whatever the layer.
    const first = received[0].sequenceNumber;
    assert.deepEqual(
      received.map(({ sequenceNumber }) => sequenceNumber),
      received.map((_, i) => (first + i) & 0xffff),
    );
    assert.equal(consumer.score.producerScores.length, count);
  });
}

// Protects viewers on bad networks: the member that they are on sends again, not the producer.
test('a NACK is answered on the last leg', async (t) => {
  const { pod, router } = await startSpread(t);
  const [near] = await directTransports(pod, router, 1);
  const { producer, send } = await camera(near, [1111]);
  const far = await router.createPlainTransport({
    listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
  });
  await areApart(pod, near, far);
  const viewer = await udpPeer(t);
  await far.connect({ ip: '127.0.0.1', port: viewer.port });
  const consumer = await far.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  const { ssrc, rtx } = consumer.rtpParameters.encodings?.[0] ?? {};
  assert.ok(ssrc && rtx, 'the viewer may ask for packets again');
  const streamOf = (/** @type {number} */ wanted) =>
    viewer.received
      .filter(({ bytes }) => !isRtcp(bytes))
      .map(({ bytes }) => parse(bytes))
      .filter((packet) => packet.ssrc === wanted);
  await sendUntil('the viewer sees', send, () => streamOf(ssrc).length > 10);

  const lost = streamOf(ssrc)[5];
  await viewer.send(nack(ssrc, lost.sequenceNumber), far.tuple);
  await until('it comes again', () => streamOf(rtx.ssrc).length > 0);
  // The original's number stands before its payload (RFC 4588).
  const [again] = streamOf(rtx.ssrc);
  assert.equal(again.payload.readUInt16BE(0), lost.sequenceNumber);
  assert.deepEqual(again.payload.subarray(2), lost.payload);
});

// Protects what applications show of quality: events of both ends, as on one worker.
test('score, orientation and trace events, of both ends', async (t) => {
  const { pod, router } = await startSpread(t);
  const [near, far] = await directTransports(pod, router, 2);
  const { producer, send } = await camera(near, [1111], { reports: false });
  /** @type {Record<string, any[]>} */
  const told = { scores: [], orientations: [], produced: [], consumed: [], consumerScores: [] };
  producer.on('score', (scores) => told.scores.push(scores));
  producer.on('videoorientationchange', (orientation) => told.orientations.push(orientation));
  producer.on('trace', ({ type }) => told.produced.push(type));
  const consumer = await far.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  consumer.on('score', (score) => told.consumerScores.push(score));
  consumer.on('trace', ({ type }) => told.consumed.push(type));
  await producer.enableTraceEvent(['rtp', 'keyframe', 'pli']);
  await consumer.enableTraceEvent(['rtp', 'keyframe']);
  /** @type {Buffer[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(bytes));

  const turned = { [ORIENTATION.id]: Buffer.from([0b0000_1001]) };
  await sendUntil(
    'the viewer sees',
    () => send(turned),
    () => received.length > 20,
  );
  const upright = { [ORIENTATION.id]: Buffer.from([0]) };
  await sendUntil(
    'both are told',
    () => send(upright),
    () => told.orientations.length >= 2,
  );
  assert.deepEqual(
    told.orientations.map(({ camera, flip, rotation }) => ({ camera, flip, rotation })),
    [
      { camera: true, flip: false, rotation: 90 },
      { camera: false, flip: false, rotation: 0 },
    ],
    'the two that the sender had',
  );
  assert.deepEqual(
    told.scores.map((scores) => scores.map(({ ssrc, score }) => ({ ssrc, score }))),
    [[{ ssrc: 1111, score: 10 }]],
    'once, of the original stream alone',
  );
  await until('the consumer has the score', () => consumer.score.producerScore === 10);
  assert.deepEqual(consumer.score.producerScores, [10]);
  await until('the consumer traces', () => told.consumed.filter((t) => t === 'rtp').length > 20);
  for (const [who, types] of [
    ['producer', told.produced],
    ['consumer', told.consumed],
  ]) {
    assert.ok(types.includes('rtp') && types.includes('keyframe'), `${who}: ${new Set(types)}`);
  }
  const { rtpStreams } = /** @type {any} */ (await producer.dump());
  assert.equal(rtpStreams.length, 1);
  // Each packet is told of once, though it passes two members.
  const [{ packetCount }] = await producer.getStats();
  await until(
    'each packet is traced once',
    () => told.produced.filter((type) => type === 'rtp').length >= packetCount - 1,
  );
  assert.ok(told.produced.filter((type) => type === 'rtp').length <= packetCount);
});

// Protects producers of which the first packets come before any viewer: nothing is asked of it.
test('trace events of a consumer end when it is closed, of the producer they go on', async (t) => {
  const { pod, router } = await startSpread(t);
  const [near, far] = await directTransports(pod, router, 2);
  const { producer, send } = await camera(near, [1111]);
  await producer.enableTraceEvent(['rtp']);
  const consumer = await far.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  let seen = 0;
  consumer.on('rtp', () => seen++);
  await sendUntil('the viewer sees', send, () => seen > 0);
  consumer.close();
  const traced = event(producer, 'trace');
  send();
  const [{ type, direction }] = await traced;
  assert.deepEqual({ type, direction }, { type: 'rtp', direction: 'in' });
});
