// Members of a virtual worker die: what was on them ends with mediasoup's own events, all else
// goes on.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { flowThrough } from '../lib/flow.js';
import { indexOf, mediaCodecs, opus, packet, parse, sendAndAwait } from '../lib/rtp.js';
import { event, until } from '../lib/until.js';
import {
  directTransports,
  killMember,
  membersOf,
  pipesAre,
  startSpread,
  topologyOf,
} from '../lib/virtual.js';
import { connectClient } from '../lib/webrtc-client.js';

const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/**
 * A call between the transports of a router that goes on while members die.
 * @param {test.TestContext} t
 * @param {import('mediasoup').types.Router} router
 * @param {number} ssrc
 */
async function steadyCall(t, router, ssrc) {
  const call = await flowThrough(t, router, { ssrc, rtpParameters: opus(ssrc), interval: 5 });
  await until('media flows', async () => (await call.flow.report()).received > 20);
  return {
    ...call,
    /** Waits for more of it and checks that nothing was lost since it began. */
    async goesOn() {
      const { sent } = await call.flow.report();
      await until('its media goes on', async () => (await call.flow.report()).received > sent + 40);
      const { lost, doubled, disordered, maxGap } = await call.flow.report();
      assert.deepEqual({ lost, doubled, disordered }, { lost: [], doubled: 0, disordered: 0 });
      t.diagnostic(`longest time between two packets: ${maxGap.toFixed(1)} ms, sent each 5 ms`);
    },
  };
}

/** @param {number} pid  of a process; its age in seconds */
function ageOf(pid) {
  const uptime = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  // The 22nd field, in hundredths of a second; the second one may have spaces in it.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return uptime - Number(fields[19]) / 100;
}

/**
 * Waits until a new process stands in for one that died, and all virtual workers may use it.
 * @param {import('../lib/pod.js').Pod} pod
 * @param {{ worker: number, pid: number }} dead
 */
function replacementOf(pod, dead) {
  return until('the member is replaced', async () => {
    const { members } = await topologyOf(pod);
    return members.find(({ worker, pid }) => worker === dead.worker && pid !== dead.pid);
  });
}

/**
 * Creates transports until one lies on this member.
 * @param {import('../lib/pod.js').Pod} pod
 * @param {import('mediasoup').types.Router} router
 * @param {number} member
 */
function directTransportOn(pod, router, member) {
  return until(`a transport is placed on member ${member}`, async () => {
    const transport = await router.createDirectTransport();
    const [placed] = await membersOf(pod, transport);
    return placed === member && transport;
  });
}

// Protects everyone who is not on the member that dies, and tells those who are.
test('kill -9 of one member of three: its transports close, the rest loses no packet', async (t) => {
  const { pod, worker, router } = await startSpread(t);
  /** @type {unknown[]} */
  const died = [];
  worker.on('died', (error) => died.push(error));
  const { rtpCapabilities } = router;
  const call = await steadyCall(t, router, 1111);
  const doomed = await router.createWebRtcTransport({ listenInfos, enableSctp: true });
  const members = await membersOf(pod, call.inward, call.outward, doomed);
  assert.equal(new Set(members).size, 3);
  const victim = members[2];
  const client = await connectClient(t, doomed);
  await client.startSctp(/** @type {any} */ (doomed.sctpParameters));
  const survivor = await directTransportOn(pod, router, members[0]);

  // In all directions: from the victim, to it, and on it alone.
  const producer = await doomed.produce({ kind: 'audio', rtpParameters: opus(2222) });
  const dataProducer = await doomed.produceData({
    sctpStreamParameters: { streamId: 3, ordered: true },
  });
  const fromVictim = await survivor.consume({ producerId: producer.id, rtpCapabilities });
  const dataFromVictim = await survivor.consumeData({ dataProducerId: dataProducer.id });
  const toVictim = await doomed.consume({ producerId: call.producer.id, rtpCapabilities });
  let messages = 0;
  dataFromVictim.on('message', () => messages++);
  (await client.channel(3)).send('hello');
  await until('data flows', () => messages === 1);

  const closed = until('DTLS is closed', () => doomed.dtlsState === 'closed');
  const ends = [
    closed,
    event(fromVictim, 'producerclose'),
    event(dataFromVictim, 'dataproducerclose'),
  ];
  const dead = await killMember(pod, victim);
  const start = performance.now();
  await Promise.all(ends);
  t.diagnostic(`told within ${Math.round(performance.now() - start)} ms`);
  assert.ok(fromVictim.closed && dataFromVictim.closed);
  assert.equal(toVictim.producerId, call.producer.id);
  assert.equal(call.consumer.closed, false);
  assert.equal(call.producer.closed, false);
  const replacement = await replacementOf(pod, dead);
  await call.goesOn();

  const { transportIds, mapProducerIdConsumerIds } = /** @type {any} */ (await router.dump());
  assert.equal(transportIds.includes(doomed.id), false, 'the dump lists what lives');
  assert.deepEqual(mapProducerIdConsumerIds, [
    { key: call.producer.id, values: [call.consumer.id] },
  ]);
  // An application closes what it was told of; nothing comes of it.
  doomed.close();
  assert.ok(producer.closed && toVictim.closed);

  // The replacement is used, and reached from everywhere.
  const fresh = await directTransportOn(pod, router, replacement.member);
  const again = await fresh.consume({ producerId: call.producer.id, rtpCapabilities });
  let count = 0;
  again.on('rtp', () => count++);
  await until('media comes to it', () => count > 20);
  await call.goesOn();
  assert.deepEqual(died, []);
  assert.equal(worker.died, false);
  assert.equal(worker.closed, false);
});

// Protects those whom a dead member passed media on to: they hear of it, and are served again.
test('kill -9 of a member in the middle of a tree: who is behind it consumes anew', async (t) => {
  const args = ['--pipe-fan-out', '1', '--pipe-depth', '4'];
  const { pod, worker, router } = await startSpread(t, { workers: 4, args });
  const { rtpCapabilities } = router;
  const transports = await directTransports(pod, router, 4);
  const members = await membersOf(pod, ...transports);
  const producer = await transports[0].produce({ kind: 'audio', rtpParameters: opus(1111) });
  const consume = async (/** @type {import('mediasoup').types.Transport} */ transport) => {
    const consumer = await transport.consume({ producerId: producer.id, rtpCapabilities });
    /** @type {number[]} */
    const received = [];
    consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
    return { consumer, received };
  };
  const all = [];
  for (const transport of transports) all.push(await consume(transport));
  await sendAndAwait(20, (i) => producer.send(packet(1111, i)), all[3].received);

  const { virtualWorkers } = await topologyOf(pod);
  const [{ pipes }] = virtualWorkers;
  const between = pipes.find(({ target }) => target === members[3])?.source;
  assert.ok(between !== undefined && between !== members[0], 'another member passes it on');
  // A pipe cannot change its other end: what came through the dead one ends.
  const told = event(all[3].consumer, 'producerclose');
  await killMember(pod, between);
  await told;
  assert.deepEqual(
    all.map(({ consumer }) => consumer.closed),
    members.map((member) => member === members[3] || member === between || isBehind(member)),
  );
  assert.equal(producer.closed, false);
  assert.equal(worker.died, false);

  const again = await consume(transports[3]);
  let next = 20;
  await until('it is served another way', () => {
    producer.send(packet(1111, next++));
    return again.received.length > 10;
  });

  /** Whether what a member got came through the dead one. */
  function isBehind(/** @type {number | undefined} */ member) {
    for (let at = member; at !== undefined;) {
      at = pipes.find(({ target }) => target === at)?.source;
      if (at === between) return true;
    }
    return false;
  }
});

for (const workers of [1, 2]) {
  // Protects small pods: there is nothing to go on with, but the worker itself does.
  test(`${workers === 1 ? 'the only member dies' : 'both members die'}: the virtual worker starts over`, async (t) => {
    const { pod, worker, router } = await startSpread(t, { workers });
    const transports = [];
    for (let i = 0; i < workers; i++)
      transports.push(await router.createWebRtcTransport({ listenInfos }));
    const { members } = await topologyOf(pod);
    // One that dies young is replaced after a pause: the next would die as well.
    await until('they are old enough', () => members.every(({ pid }) => ageOf(pid) > 1.5));
    for (const { member } of members) await killMember(pod, member);
    for (const transport of transports)
      await until('it is closed', () => transport.dtlsState === 'closed');
    for (const dead of members) await replacementOf(pod, dead);

    const [transport] = await directTransports(pod, router, 1);
    const producer = await transport.produce({ kind: 'audio', rtpParameters: opus(1111) });
    const consumer = await transport.consume({
      producerId: producer.id,
      rtpCapabilities: router.rtpCapabilities,
    });
    /** @type {number[]} */
    const received = [];
    consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
    await sendAndAwait(20, (i) => producer.send(packet(1111, i)), received);
    assert.equal(worker.died, false);
    assert.deepEqual((await router.dump()).transportIds, [transport.id]);
    assert.deepEqual((await worker.dump()).routerIds, [router.id]);
  });
}

// Protects operators' and bad days' rooms: one member after the other, and the room goes on.
test('every member dies once, one after the other', async (t) => {
  const { pod, worker, router } = await startSpread(t);
  const { members } = await topologyOf(pod);
  for (const { member } of members) {
    await replacementOf(pod, await killMember(pod, member));
    const [from, to] = await directTransports(pod, router, 2);
    const producer = await from.produce({ kind: 'audio', rtpParameters: opus(1111) });
    const consumer = await to.consume({
      producerId: producer.id,
      rtpCapabilities: router.rtpCapabilities,
    });
    /** @type {number[]} */
    const received = [];
    consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
    await sendAndAwait(20, (i) => producer.send(packet(1111, i)), received);
    from.close();
    to.close();
  }
  await pipesAre(pod, router, []);
  assert.equal(worker.died, false);
  const other = await createWorker(t, pod);
  await other.createRouter({ mediaCodecs });
});
