// What crosses a pipe of a virtual worker is what mediasoup's own `pipeToRouter()` lets through:
// the same call is made by hand between two real workers and on a virtual one, and compared.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { extensionsOf, rtpPacket, vp8 } from '../lib/frames.js';
import { mediaCodecs, opus, parse } from '../lib/rtp.js';
import { until } from '../lib/until.js';
import { directTransports, startSpreadPod } from '../lib/virtual.js';

const FRAMES = 12;

/** All that mediasoup takes of a sender, and the ids that this sender gives them. */
const EXTENSIONS = {
  audio: {
    'urn:ietf:params:rtp-hdrext:sdes:mid': [1, '30'],
    'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time': [2, '010203'],
    'urn:ietf:params:rtp-hdrext:ssrc-audio-level': [3, '8a'],
    'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time': [4, '0102030405060708'],
  },
  video: {
    'urn:ietf:params:rtp-hdrext:sdes:mid': [1, '31'],
    'http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time': [2, '010203'],
    'urn:3gpp:video-orientation': [5, '01'],
    'urn:ietf:params:rtp-hdrext:toffset': [6, '000102'],
    'http://www.webrtc.org/experiments/rtp-hdrext/playout-delay': [7, '00a014'],
    'http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time': [4, '0102030405060708'],
    'http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01': [8, '0102'],
  },
};

/** @param {'audio' | 'video'} kind */
function headerExtensions(kind) {
  return Object.entries(EXTENSIONS[kind]).map(([uri, [id]]) => ({
    uri: /** @type {any} */ (uri),
    id: Number(id),
  }));
}

/** @param {'audio' | 'video'} kind */
function extensionValues(kind) {
  const values = Object.values(EXTENSIONS[kind]).map(([id, hex]) => [
    id,
    Buffer.from(String(hex), 'hex'),
  ]);
  return Object.fromEntries(values);
}

/** @type {{ name: string, kind: 'audio' | 'video', ssrcs: number[], rtpParameters: import('mediasoup').types.RtpParameters }[]} */
const streams = [
  {
    name: 'audio',
    kind: 'audio',
    ssrcs: [1111],
    rtpParameters: { ...opus(1111), headerExtensions: headerExtensions('audio') },
  },
  { name: 'video', kind: 'video', ssrcs: [1111], rtpParameters: video([1111]) },
  {
    name: 'simulcast',
    kind: 'video',
    ssrcs: [1111, 2222, 3333],
    rtpParameters: video([1111, 2222, 3333]),
  },
];

/**
 * @param {number[]} ssrcs
 * @returns {import('mediasoup').types.RtpParameters}
 */
function video(ssrcs) {
  return {
    mid: '1',
    codecs: [
      {
        mimeType: 'video/VP8',
        payloadType: 120,
        clockRate: 90000,
        rtcpFeedback: [
          { type: 'nack', parameter: '' },
          { type: 'nack', parameter: 'pli' },
          { type: 'transport-cc', parameter: '' },
        ],
      },
      {
        mimeType: 'video/rtx',
        payloadType: 121,
        clockRate: 90000,
        parameters: { apt: 120 },
      },
    ],
    headerExtensions: headerExtensions('video'),
    encodings: ssrcs.map((ssrc) => ({ ssrc, rtx: { ssrc: ssrc + 1 }, scalabilityMode: 'L1T3' })),
    rtcp: { cname: 'mafalda-test' },
  };
}

/**
 * What a viewer on the far side gets of a stream, without what is random.
 * @param {typeof streams[number]} stream
 * @param {{ near: import('mediasoup').types.DirectTransport,
 *   far: import('mediasoup').types.DirectTransport,
 *   rtpCapabilities: import('mediasoup').types.RtpCapabilities,
 *   pipe?: (producerId: string) => Promise<unknown> }} path
 */
async function seen({ kind, ssrcs, rtpParameters }, { near, far, rtpCapabilities, pipe }) {
  const producer = await near.produce({ kind, rtpParameters });
  await pipe?.(producer.id);
  const consumer = await far.consume({ producerId: producer.id, rtpCapabilities });
  /** @type {Buffer[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(Buffer.from(bytes)));
  let frame = 0;
  const send = () => {
    for (const [layer, ssrc] of ssrcs.entries()) {
      const payload =
        kind === 'video' ? vp8({ isKey: true, layer, frame }) : Buffer.alloc(40, frame);
      producer.send(
        rtpPacket({
          payloadType: kind === 'video' ? 120 : 100,
          ssrc,
          sequenceNumber: frame,
          timestamp: frame * 960,
          marker: frame % 3 === 0,
          extensions: extensionValues(kind),
          payload,
        }),
      );
    }
    frame++;
  };
  // Simulcast finds its layer first.
  const layerShown = () => ssrcs.length === 1 || consumer.currentLayers?.spatialLayer !== undefined;
  await until('it is seen', () => {
    send();
    return received.length > 0 && layerShown();
  });
  const from = received.length;
  const start = frame;
  for (let i = 0; i < FRAMES; i++) send();
  await until('all came', () => received.length >= from + FRAMES);
  const first = parse(received[from]);
  const packets = received.slice(from, from + FRAMES).map((bytes) => {
    const { payloadType, ssrc, sequenceNumber, payload } = parse(bytes);
    return {
      payloadType,
      marker: bytes[1] >> 7,
      sequenceNumber: (sequenceNumber - first.sequenceNumber) & 0xffff,
      timestamp: (bytes.readUInt32BE(4) - received[from].readUInt32BE(4)) >>> 0,
      isStream: ssrc === consumer.rtpParameters.encodings?.[0].ssrc,
      extensions: extensionsSeen(bytes),
      size: payload.length,
    };
  });
  assert.ok(start > 0);
  const dump = /** @type {any} */ (await consumer.dump());
  return {
    packets,
    type: consumer.type,
    producerType: producer.type,
    parameters: withoutRandom(consumer.rtpParameters),
    dump: withoutRandom({
      kind: dump.kind,
      type: dump.type,
      rtpParameters: dump.rtpParameters,
      consumableRtpEncodings: dump.consumableRtpEncodings,
      supportedCodecPayloadTypes: dump.supportedCodecPayloadTypes,
      traceEventTypes: dump.traceEventTypes,
    }),
    score: consumer.score,
    closed: await producer.close(),
  };
}

/** Extensions that tell of the sending itself, by mediasoup's ids. */
const OF_THE_MOMENT = { 4: 'abs-send-time', 5: 'transport-cc' };

/**
 * The header extensions of a packet, in hexadecimal, where they do not change all the time.
 * @param {Buffer} bytes
 */
function extensionsSeen(bytes) {
  return Object.fromEntries(
    Object.entries(extensionsOf(bytes)).map(([id, value]) => [
      id,
      OF_THE_MOMENT[id] ?? value.toString('hex'),
    ]),
  );
}

/** @param {unknown} value  SSRCs, CNAMEs and MIDs are chosen anew each time */
function withoutRandom(value) {
  return JSON.parse(
    JSON.stringify(value, (key, each) =>
      /ssrc|cname|^mid$|msid/i.test(key) && typeof each !== 'object' ? 'any' : each,
    ),
  );
}

for (const rtx of [false, true]) {
  // Protects equality with what applications built by hand before: packets, extensions, dumps.
  test(`what crosses a pipe is what pipeToRouter lets through${rtx ? ', with RTX' : ''}`, async (t) => {
    const args = rtx ? ['--pipe-rtx', 'on'] : [];
    const pod = await startSpreadPod(t, { workers: 2, args });
    const worker = await createWorker(t, pod);
    const router = await worker.createRouter({ mediaCodecs });
    const [near, far] = await directTransports(pod, router, 2);
    const virtual = { near, far, rtpCapabilities: router.rtpCapabilities };

    const realPod = await startSpreadPod(t, { workers: 2, args: ['--virtual', 'off'] });
    const [nearWorker, farWorker] = [
      await createWorker(t, realPod),
      await createWorker(t, realPod),
    ];
    const [nearRouter, farRouter] = [
      await nearWorker.createRouter({ mediaCodecs }),
      await farWorker.createRouter({ mediaCodecs }),
    ];
    const byHand = {
      near: await nearRouter.createDirectTransport(),
      far: await farRouter.createDirectTransport(),
      rtpCapabilities: farRouter.rtpCapabilities,
      pipe: (/** @type {string} */ producerId) =>
        nearRouter.pipeToRouter({ producerId, router: farRouter, enableRtx: rtx }),
    };

    for (const stream of streams) {
      const [wanted, got] = [await seen(stream, byHand), await seen(stream, virtual)];
      assert.ok(Object.keys(wanted.packets[0].extensions).length > 0, 'extensions are seen');
      assert.deepEqual(got, wanted, stream.name);
    }
  });
}
