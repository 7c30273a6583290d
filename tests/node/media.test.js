// Real ICE, DTLS, SRTP and SCTP by a client without a browser, through a remote worker.
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { makeCertificate } from '../lib/certificate.js';
import { startPod } from '../lib/pod.js';
import { indexOf, mediaCodecs, opus, packet, sendAndAwait } from '../lib/rtp.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { until } from '../lib/until.js';
import { connectClient } from '../lib/webrtc-client.js';

const PACKETS = 200;
const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

for (const { name, options } of [
  { name: 'DTLS client, AES-GCM', options: { dtlsRole: /** @type {const} */ ('client') } },
  { name: 'DTLS server, AES-GCM', options: { dtlsRole: /** @type {const} */ ('server') } },
  { name: 'AES-CM-SHA1', options: { onlySha1: true } },
]) {
  test(`RTP over DTLS-SRTP from client to client (${name}), and its statistics`, async (t) => {
    const pod = await startPod(t);
    const worker = await createWorker(t, pod);
    const router = await worker.createRouter({ mediaCodecs });
    const [from, to] = [
      await router.createWebRtcTransport({ listenInfos }),
      await router.createWebRtcTransport({ listenInfos }),
    ];
    const [sender, receiver] = await Promise.all([
      connectClient(t, from, options),
      connectClient(t, to, options),
    ]);
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
    assert.equal(produced.type, 'inbound-rtp');
    assert.equal(produced.packetCount, PACKETS);
    assert.equal(produced.packetsLost, 0);
    const consumed = (await consumer.getStats()).find(({ type }) => type === 'outbound-rtp');
    assert.equal(consumed?.packetCount, PACKETS);
    const [transport] = await from.getStats();
    assert.equal(transport.dtlsState, 'connected');
    assert.ok(transport.rtpBytesReceived >= PACKETS * 172, `${transport.rtpBytesReceived} bytes`);
    assert.equal(transport.iceSelectedTuple?.localPort, pod.rtcPort);
    assert.equal((await worker.getResourceUsage()).ru_maxrss > 0, true);

    await consumer.pause();
    await sender.sendRtp(packet(1111, PACKETS));
    await until('the pause holds a packet back', async () => {
      const [{ packetCount }] = await producer.getStats();
      return packetCount === PACKETS + 1;
    });
    assert.equal(received.length, PACKETS);
    await consumer.resume();
    await sender.sendRtp(packet(1111, PACKETS + 1));
    await until('it flows again', () => received.at(-1) === PACKETS + 1);
  });
}

test('SCTP over DTLS: messages in both directions, also large ones', async (t) => {
  const pod = await startPod(t);
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter();
  const transport = await router.createWebRtcTransport({ listenInfos, enableSctp: true });
  const client = await connectClient(t, transport);
  assert.ok(transport.sctpParameters);
  await client.startSctp(transport.sctpParameters);
  await until('the worker has SCTP connected', () => transport.sctpState === 'connected');

  const direct = await router.createDirectTransport();

  // From the client to the application.
  const fromClient = await transport.produceData({
    sctpStreamParameters: { streamId: 3, ordered: true },
    label: 'up',
  });
  const atApplication = await direct.consumeData({ dataProducerId: fromClient.id });
  /** @type {Buffer[]} */
  const arrivedUp = [];
  atApplication.on('message', (message) => arrivedUp.push(message));
  const up = await client.channel(3);
  const messages = [Buffer.from('hello'), Buffer.alloc(1, 1), Buffer.alloc(60_000, 2)];
  for (const message of messages) up.send(message);
  await until('the application has them', () => arrivedUp.length === messages.length);
  assert.deepEqual(arrivedUp, messages);

  // From the application to the client.
  const fromApplication = await direct.produceData({ label: 'down' });
  const atClient = await transport.consumeData({
    dataProducerId: fromApplication.id,
    ordered: true,
  });
  const down = await client.channel(/** @type {any} */ (atClient.sctpStreamParameters).streamId);
  /** @type {(Buffer | string)[]} */
  const arrivedDown = [];
  down.onMessage.subscribe((message) => arrivedDown.push(message));
  for (const message of messages) fromApplication.send(message);
  await until('the client has them', () => arrivedDown.length === messages.length);
  assert.deepEqual(arrivedDown, messages);

  const [stats] = await atClient.getStats();
  assert.equal(stats.messagesSent, messages.length);
  const [upStats] = await fromClient.getStats();
  assert.equal(upStats.messagesReceived, messages.length);
});

test("the application's certificate files travel: DTLS shows them", async (t) => {
  const pod = await startPod(t);
  const { certificate, key, fingerprint } = await makeCertificate(await temporaryDirectory(t));
  const worker = await createWorker(t, pod, {
    dtlsCertificateFile: certificate,
    dtlsPrivateKeyFile: key,
  });
  const router = await worker.createRouter();
  const transport = await router.createWebRtcTransport({ listenInfos });
  const told = transport.dtlsParameters.fingerprints.find(
    ({ algorithm }) => algorithm === 'sha-256',
  );
  assert.equal(told?.value, fingerprint);
  const client = await connectClient(t, transport);
  const shown = new X509Certificate(/** @type {Buffer} */ (client.remoteCertificate));
  assert.equal(shown.fingerprint256, fingerprint);

  // A worker that comes after it has a certificate of its own again.
  const other = await createWorker(t, pod);
  const otherRouter = await other.createRouter();
  const otherTransport = await otherRouter.createWebRtcTransport({ listenInfos });
  for (const { value } of otherTransport.dtlsParameters.fingerprints)
    assert.notEqual(value, fingerprint);
});
