// `--listen-infos pod`: an application written for another host, with its addresses and
// ports, advertises the pod's, and what it advertises can be reached. Every kind of
// transport, over IPv4, IPv6 and both, with and without an announced address.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, isIPv6 } from 'node:net';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { indexOf, isRtcp, mediaCodecs, opus, packet, parse, sendAndAwait } from '../lib/rtp.js';
import { udpPeer } from '../lib/udp.js';
import { until } from '../lib/until.js';
import { connectClient } from '../lib/webrtc-client.js';

/** What no one may ever be told: the application's own idea of where it is. */
const OLD_ANNOUNCED = '203.0.113.7';
const OLD_PORT = 5999;

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {string[]} args  of the pod
 * @property {string[]} advertised  the addresses that must be advertised, and none else
 */

/** @type {Case[]} */
const cases = [
  { name: 'unless told: loopback', args: [], advertised: ['127.0.0.1'] },
  { name: 'IPv6', args: ['--rtc-ip', '::1'], advertised: ['::1'] },
  {
    name: 'IPv4 and IPv6',
    args: ['--rtc-ip', '127.0.0.1', '--rtc-ip', '::1'],
    advertised: ['127.0.0.1', '::1'],
  },
  {
    name: 'announced IPv4, bound to the wildcard',
    args: ['--announced-address', '127.0.0.1'],
    advertised: ['127.0.0.1'],
  },
  {
    name: 'announced IPv6, bound to the wildcard',
    args: ['--announced-address', '::1'],
    advertised: ['::1'],
  },
  {
    name: 'announced IPv4 and IPv6',
    args: ['--announced-address', '127.0.0.1', '--announced-address', '::1'],
    advertised: ['127.0.0.1', '::1'],
  },
];

/** The listen infos of an application that ran its worker beside itself, on another host. */
const oldListenInfos = (/** @type {'udp' | 'tcp'} */ protocol) => ({
  protocol,
  ip: '0.0.0.0',
  announcedAddress: OLD_ANNOUNCED,
  port: OLD_PORT,
});

for (const { name, args, advertised } of cases) {
  test(`addresses: ${name}`, async (t) => {
    const pod = await startPod(t, { workers: 2, args });
    const worker = await createWorker(t, pod);
    const router = await worker.createRouter({ mediaCodecs });

    /** @param {{ ip?: string, address: string, port: number, protocol: string }[]} candidates */
    const assertCandidates = (candidates, /** @type {string[]} */ protocols) => {
      const told = candidates.map(({ address, protocol }) => `${protocol} ${address}`).sort();
      const expected = protocols.flatMap((protocol) =>
        advertised.map((address) => `${protocol} ${address}`),
      );
      assert.deepEqual(told, expected.sort());
      const [{ port }] = candidates;
      for (const candidate of candidates) assert.equal(candidate.port, port);
      return port;
    };
    /** @param {{ localAddress: string, localPort: number }} tuple */
    const assertTuple = ({ localAddress, localPort }) => {
      assert.ok(advertised.includes(localAddress), `advertises ${localAddress}`);
      const { first, last } = pod.rtcPortRange;
      assert.ok(localPort >= first && localPort <= last, `port ${localPort} in ${first}-${last}`);
    };

    await t.test('WebRTC transport of its own', async (t) => {
      const transport = await router.createWebRtcTransport({
        listenInfos: [oldListenInfos('udp'), oldListenInfos('tcp')],
      });
      const port = assertCandidates(transport.iceCandidates, ['udp', 'tcp']);
      assert.equal(port, pod.rtcPort + (await pod.entryOf(worker)).index);
      await assertClientReaches(t, transport, advertised);
      transport.close();
    });

    await t.test('WebRTC transport of a WebRtcServer', async (t) => {
      const worker = await createWorker(t, pod);
      const router = await worker.createRouter({ mediaCodecs });
      const webRtcServer = await worker.createWebRtcServer({
        listenInfos: [oldListenInfos('udp'), oldListenInfos('tcp')],
      });
      const transport = await router.createWebRtcTransport({ webRtcServer, enableTcp: true });
      const port = assertCandidates(transport.iceCandidates, ['udp', 'tcp']);
      assert.equal(port, pod.rtcPort + (await pod.entryOf(worker)).index);
      await assertClientReaches(t, transport, advertised);
      webRtcServer.close();
      assert.equal(transport.closed, true);
    });

    await t.test('plain transport, RTP and RTCP on one port', async (t) => {
      const transport = await router.createPlainTransport({
        listenInfo: oldListenInfos('udp'),
        rtcpMux: true,
      });
      assertTuple(transport.tuple);
      assert.equal(transport.rtcpTuple, undefined);
      await assertRtpFlows(t, router, transport);
    });

    await t.test('plain transport, RTP and RTCP on two ports', async (t) => {
      const transport = await router.createPlainTransport({
        listenInfo: oldListenInfos('udp'),
        rtcpListenInfo: { ...oldListenInfos('udp'), port: OLD_PORT + 1 },
        rtcpMux: false,
      });
      assertTuple(transport.tuple);
      const { rtcpTuple } = transport;
      assert.ok(rtcpTuple);
      assertTuple(rtcpTuple);
      assert.notEqual(rtcpTuple.localPort, transport.tuple.localPort);
      await assertRtpFlows(t, router, transport);
    });

    await t.test('plain transport that learns its peer (comedia)', async (t) => {
      const transport = await router.createPlainTransport({
        listenInfo: oldListenInfos('udp'),
        comedia: true,
      });
      assertTuple(transport.tuple);
      await assertRtpFlows(t, router, transport, { comedia: true });
    });

    await t.test('two pipe transports', async (t) => {
      const farRouter = await worker.createRouter({ mediaCodecs });
      const [near, far] = await Promise.all(
        [router, farRouter].map((router) =>
          router.createPipeTransport({ listenInfo: oldListenInfos('udp') }),
        ),
      );
      for (const { tuple } of [near, far]) assertTuple(tuple);
      await near.connect({ ip: far.tuple.localAddress, port: far.tuple.localPort });
      await far.connect({ ip: near.tuple.localAddress, port: near.tuple.localPort });
      await assertPiped(t, { router, pipe: near }, { router: farRouter, pipe: far });
    });

    await t.test('direct transport', async () => {
      const direct = await router.createDirectTransport();
      const producer = await direct.produce({ kind: 'audio', rtpParameters: opus(77) });
      const consumer = await direct.consume({
        producerId: producer.id,
        rtpCapabilities: router.rtpCapabilities,
      });
      await assertDirectFlow(producer, consumer);
    });
  });
}

test('a host name is announced as it is', async (t) => {
  const pod = await startPod(t, { args: ['--announced-address', 'media.example.net'] });
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({ mediaCodecs });
  const webRtc = await router.createWebRtcTransport({ listenInfos: [oldListenInfos('udp')] });
  assert.deepEqual(
    webRtc.iceCandidates.map(({ address, port }) => `${address}:${port}`),
    [`media.example.net:${pod.rtcPort}`],
  );
  const plain = await router.createPlainTransport({ listenInfo: oldListenInfos('udp') });
  assert.equal(plain.tuple.localAddress, 'media.example.net');
});

test('each worker has the WebRTC port of its place', async (t) => {
  const pod = await startPod(t, { workers: 3 });
  const workers = await Promise.all([1, 2, 3].map(() => createWorker(t, pod)));
  const ports = await Promise.all(
    workers.map(async (worker) => {
      const router = await worker.createRouter();
      const transport = await router.createWebRtcTransport({
        listenInfos: [oldListenInfos('udp')],
      });
      return transport.iceCandidates[0].port;
    }),
  );
  assert.deepEqual(ports.sort(), [pod.rtcPort, pod.rtcPort + 1, pod.rtcPort + 2]);
});

test("a worker's port that another program has: transports get ports of the range", async (t) => {
  const pod = await startPod(t);
  // As an outgoing connection may, too: the default ports are where Linux takes theirs from.
  const other = createServer().listen(pod.rtcPort, '127.0.0.1');
  await once(other, 'listening');
  t.after(() => other.close());
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter();
  const transport = await router.createWebRtcTransport({
    listenInfos: [oldListenInfos('udp'), oldListenInfos('tcp')],
  });
  const { first, last } = pod.rtcPortRange;
  assert.equal(transport.iceCandidates.length, 2);
  for (const { port } of transport.iceCandidates) assert.ok(port >= first && port <= last);
  assert.equal((await pod.status()).workers[0].rtcPort, null, 'and the status says so');
  await connectClient(t, transport);
});

test('an application may have several WebRtcServers and transports of its own', async (t) => {
  const pod = await startPod(t);
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({ mediaCodecs });
  const servers = [
    await worker.createWebRtcServer({ listenInfos: [oldListenInfos('udp')] }),
    await worker.createWebRtcServer({
      listenInfos: [{ ...oldListenInfos('udp'), port: OLD_PORT + 1 }],
    }),
  ];
  const transports = [
    await router.createWebRtcTransport({ webRtcServer: servers[0] }),
    await router.createWebRtcTransport({ webRtcServer: servers[1] }),
    await router.createWebRtcTransport({ listenInfos: [oldListenInfos('udp')] }),
  ];
  // Closing one server ends its own transports, no others.
  servers[0].close();
  await until('the first is gone', async () => (await router.dump()).transportIds.length === 2);
  assert.deepEqual(
    transports.map(({ closed }) => closed),
    [true, false, false],
  );
  for (const transport of transports.slice(1)) await connectClient(t, transport);
});

/**
 * A client reaches each advertised address, one after the other.
 * @param {test.TestContext} t
 * @param {import('mediasoup').types.WebRtcTransport} transport
 * @param {string[]} advertised
 */
async function assertClientReaches(t, transport, advertised) {
  const client = await connectClient(t, transport);
  assert.equal(transport.iceState, 'completed');
  assert.ok(advertised.includes(/** @type {string} */ (client.remoteCandidate?.host)));
}

/**
 * RTP sent to the transport comes out at another one, to a peer outside.
 * @param {test.TestContext} t
 * @param {import('mediasoup').types.Router} router
 * @param {import('mediasoup').types.PlainTransport} inward
 * @param {{ comedia?: boolean }} [options]
 */
async function assertRtpFlows(t, router, inward, { comedia = false } = {}) {
  const { localAddress } = inward.tuple;
  const peer = await udpPeer(t, isIPv6(localAddress) ? '::1' : '127.0.0.1');
  if (!comedia) {
    await inward.connect({
      ip: peer.address,
      port: peer.port,
      ...(inward.rtcpTuple && { rtcpPort: peer.port + 1 }),
    });
  }
  const producer = await inward.produce({ kind: 'audio', rtpParameters: opus(4711) });
  const outward = await router.createPlainTransport({ listenInfo: oldListenInfos('udp') });
  await outward.connect({ ip: peer.address, port: peer.port });
  const consumer = await outward.consume({
    producerId: producer.id,
    rtpCapabilities: router.rtpCapabilities,
  });
  for (let i = 0; i < 20; i++) await peer.send(packet(4711, i), inward.tuple);
  const rtp = () => peer.received.filter(({ bytes }) => !isRtcp(bytes));
  await until('all packets came through', () => rtp().length === 20);
  for (const [i, { bytes, from }] of rtp().entries()) {
    const { ssrc, payload } = parse(bytes);
    assert.equal(indexOf(payload), i);
    assert.equal(ssrc, consumer.rtpParameters.encodings?.[0].ssrc);
    assert.equal(from.port, outward.tuple.localPort);
  }
  if (comedia) assert.equal(inward.tuple.remotePort, peer.port);
  inward.close();
  outward.close();
}

/**
 * @typedef {{ router: import('mediasoup').types.Router, pipe: import('mediasoup').types.PipeTransport }} Side
 * @param {test.TestContext} t
 * @param {Side} near
 * @param {Side} far
 */
async function assertPiped(t, near, far) {
  const source = await near.router.createDirectTransport();
  const producer = await source.produce({ kind: 'audio', rtpParameters: opus(99) });
  const piped = await near.pipe.consume({ producerId: producer.id });
  const arrived = await far.pipe.produce({
    kind: 'audio',
    rtpParameters: piped.rtpParameters,
  });
  const sink = await far.router.createDirectTransport();
  const consumer = await sink.consume({
    producerId: arrived.id,
    rtpCapabilities: far.router.rtpCapabilities,
  });
  await assertDirectFlow(producer, consumer);
}

/**
 * @param {import('mediasoup').types.Producer} producer  of a direct transport
 * @param {import('mediasoup').types.Consumer} consumer  of a direct transport
 */
async function assertDirectFlow(producer, consumer) {
  /** @type {number[]} */
  const received = [];
  consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
  const ssrc = /** @type {number} */ (producer.rtpParameters.encodings?.[0].ssrc);
  await sendAndAwait(20, (i) => producer.send(packet(ssrc, i)), received);
}
