// The network between two pods loses a tenth of all packets, for real: what video loses on a pipe is
// sent again where that is switched on, and is missing where it is not.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker, relayIn } from '../../lib/application.js';
import { frameOf, rtpPacket, vp8 } from '../../lib/frames.js';
import { makeKeys } from '../../lib/keys.js';
import { networkNamespace, route } from '../../lib/netns.js';
import { startVirtualPod } from '../../lib/pod.js';
import { mediaCodecs, parse } from '../../lib/rtp.js';
import { until } from '../../lib/until.js';

/** How many frames must come, a packet each. */
const FRAMES = 300;
const FRAME_MS = 5;
/** One of so many packets is lost. */
const LOSS = 10;

/**
 * A router over two pods, each in a network namespace of its own.
 * @param {test.TestContext} t
 * @param {string} rtx  what MAFALDA_PIPE_RTX is
 */
async function apart(t, rtx) {
  const [left, right] = [networkNamespace(t), networkNamespace(t)];
  const network = route(t, left, right);
  const keys = await makeKeys(t);
  const token = await keys.token({ role: 'monitor' });
  const pod = (/** @type {string} */ netns, /** @type {string} */ address) =>
    startVirtualPod(t, {
      listen: `${address}:0`,
      args: [...keys.podArgs(), '--rtc-ip', address],
      netns,
      token,
    });
  const pods = [await pod(left, network.left), await pod(right, network.right)];
  const worker = await createWorker(
    t,
    pods.map(({ webSocketUrl }) => webSocketUrl).join(),
    { workerBin: await relayIn(t, left) },
    {
      env: {
        MAFALDA_TOKEN: await keys.token(),
        MAFALDA_PLACEMENT: 'spread',
        MAFALDA_PIPE_RTX: rtx,
      },
    },
  );
  return { network, pods, router: await worker.createRouter({ mediaCodecs }) };
}

/** @type {import('mediasoup').types.RtpParameters} */
const video = {
  mid: '1',
  codecs: [
    {
      mimeType: 'video/VP8',
      payloadType: 101,
      clockRate: 90000,
      rtcpFeedback: [
        { type: 'nack', parameter: '' },
        { type: 'nack', parameter: 'pli' },
      ],
    },
    {
      mimeType: 'video/rtx',
      payloadType: 102,
      clockRate: 90000,
      parameters: { apt: 101 },
      rtcpFeedback: [],
    },
  ],
  encodings: [{ ssrc: 1111, rtx: { ssrc: 1112 } }],
  rtcp: { cname: 'mafalda-test' },
};

for (const [rtx, heals] of /** @type {const} */ ([
  ['off', false],
  ['pods', true],
])) {
  test(`MAFALDA_PIPE_RTX=${rtx}: what a pipe loses is ${heals ? 'sent again' : 'missing'}`, async (t) => {
    const { network, pods, router } = await apart(t, rtx);
    // One on each pod: both carry a transport and an end of the pipe.
    const near = await router.createDirectTransport();
    const far = await router.createDirectTransport();
    const producer = await near.produce({ kind: 'video', rtpParameters: video });
    const { rtpCapabilities } = router;
    const consumer = await far.consume({ producerId: producer.id, rtpCapabilities });
    for (const pod of pods) {
      const { workers } = await pod.status();
      assert.equal(workers[0].carries.transports, 2);
    }
    /** @type {Set<number>} */
    const received = new Set();
    consumer.on('rtp', (bytes) => received.add(frameOf(parse(bytes).payload)));
    let frame = 0;
    const send = () => {
      const payload = vp8({ isKey: true, frame });
      const header = { payloadType: 101, ssrc: 1111, sequenceNumber: frame };
      producer.send(rtpPacket({ ...header, timestamp: frame * 450, marker: true, payload }));
      frame++;
    };
    const every = { every: FRAME_MS };
    const sending = (/** @type {() => boolean} */ condition) => () => {
      send();
      return condition();
    };
    await until(
      'media flows',
      sending(() => received.size > 20),
      every,
    );
    const first = frame;
    network.lose(LOSS);
    await until(
      'so many are sent',
      sending(() => frame >= first + FRAMES),
      every,
    );
    const missing = () => {
      const numbers = Array.from({ length: FRAMES }, (_, i) => first + i);
      return numbers.filter((number) => !received.has(number));
    };
    if (heals) {
      // More are sent: a loss shows by what comes after.
      await until(
        'all have come',
        sending(() => missing().length === 0),
        every,
      );
    } else {
      await until(
        'the last have come',
        sending(() => received.has(frame - 10)),
        every,
      );
      t.diagnostic(`${missing().length} of ${FRAMES} are missing`);
      assert.ok(missing().length > FRAMES / LOSS / 3, 'the network loses');
    }
  });
}
