// `router.pipeToRouter()` between two remote workers of one pod: two processes, two UDP
// sockets, and neither the application's host nor its addresses in between.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { indexOf, mediaCodecs, opus, packet, parse, sendAndAwait } from '../lib/rtp.js';
import { until } from '../lib/until.js';

const PACKETS = 300;

for (const { name, args, options } of [
  { name: 'plain', args: [], options: {} },
  { name: 'SRTP', args: [], options: { enableSrtp: true } },
  { name: 'SRTP and RTX', args: [], options: { enableSrtp: true, enableRtx: true } },
  { name: 'IPv6', args: ['--rtc-ip', '::1'], options: {} },
  { name: 'announced address', args: ['--announced-address', '127.0.0.1'], options: {} },
  {
    name: 'announced host name, own address for pipes',
    args: ['--announced-address', 'media.example.net', '--pipe-address', '127.0.0.1'],
    options: {},
  },
]) {
  test(`pipeToRouter between two workers: ${name}`, async (t) => {
    const pod = await startPod(t, { workers: 2, args });
    const [near, far] = await Promise.all([side(t, pod), side(t, pod)]);
    assert.notEqual(near.pid, far.pid);

    const producer = await near.direct.produce({ kind: 'audio', rtpParameters: opus(1111) });
    const { pipeConsumer, pipeProducer } = await near.router.pipeToRouter({
      producerId: producer.id,
      router: far.router,
      ...options,
    });
    assert.ok(pipeConsumer && pipeProducer);
    const consumer = await far.direct.consume({
      producerId: producer.id,
      rtpCapabilities: far.router.rtpCapabilities,
    });
    /** @type {number[]} */
    const received = [];
    consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
    await sendAndAwait(PACKETS, (i) => producer.send(packet(1111, i)), received);

    await producer.pause();
    await until('the pause is passed on', () => pipeProducer.paused && consumer.producerPaused);
    await producer.resume();
    await until('so is the end of it', () => !pipeProducer.paused && !consumer.producerPaused);
    producer.close();
    await until(
      'so is the close',
      () => pipeConsumer.closed && pipeProducer.closed && consumer.closed,
    );
  });
}

test('pipeToRouter with data', async (t) => {
  const pod = await startPod(t, { workers: 2 });
  const [near, far] = await Promise.all([side(t, pod), side(t, pod)]);
  /** @type {import('mediasoup').types.PipeTransport[]} */
  const pipes = [];
  for (const { router } of [near, far]) {
    router.observer.on('newtransport', (transport) => {
      if (transport.type === 'pipe') pipes.push(/** @type {any} */ (transport));
    });
  }
  const dataProducer = await near.direct.produceData({ label: 'chat', protocol: 'text' });
  const { pipeDataProducer } = await near.router.pipeToRouter({
    dataProducerId: dataProducer.id,
    router: far.router,
  });
  assert.equal(pipeDataProducer?.label, 'chat');
  const dataConsumer = await far.direct.consumeData({ dataProducerId: dataProducer.id });
  /** @type {string[]} */
  const received = [];
  dataConsumer.on('message', (message) => received.push(message.toString()));
  await until(
    'the pipe has SCTP on both sides',
    () => pipes.length === 2 && pipes.every(({ sctpState }) => sctpState === 'connected'),
  );
  for (let i = 0; i < 50; i++) dataProducer.send(`message ${i}`);
  await until('all came', () => received.length === 50);
  assert.deepEqual(
    received,
    Array.from({ length: 50 }, (_, i) => `message ${i}`),
  );
});

/**
 * @param {test.TestContext} t
 * @param {import('../lib/pod.js').Pod} pod
 */
async function side(t, pod) {
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({ mediaCodecs });
  return { pid: worker.pid, router, direct: await router.createDirectTransport() };
}
