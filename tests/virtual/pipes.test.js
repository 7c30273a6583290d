// Which pipes there are: as many as needed, no longer than needed.
import assert from 'node:assert/strict';
import test from 'node:test';
import { flowThrough } from '../lib/flow.js';
import { indexOf, opus, packet, parse, sendAndAwait } from '../lib/rtp.js';
import { event, until } from '../lib/until.js';
import { directTransports, membersOf, pipesAre, pipesOf, startSpread } from '../lib/virtual.js';

/**
 * Two transports on each of three members, and a producer on the first of each.
 * @param {test.TestContext} t
 * @param {string[]} args
 */
async function room(t, args) {
  const { pod, worker, router } = await startSpread(t, { args });
  const transports = [];
  for (let i = 0; i < 6; i++) transports.push(await router.createDirectTransport());
  const members = await membersOf(pod, ...transports);
  assert.equal(new Set(members).size, 3);
  const producers = [];
  for (const [i, transport] of transports.slice(0, 3).entries()) {
    producers.push(await transport.produce({ kind: 'audio', rtpParameters: opus(1000 + i) }));
  }
  const { rtpCapabilities } = router;
  const consume = (/** @type {number} */ from, /** @type {number} */ to) =>
    transports[to].consume({ producerId: producers[from].id, rtpCapabilities });
  return { pod, worker, router, transports, members, producers, consume };
}

// Protects the application's answer and the pod's work: N viewers at once are one pipe.
test('concurrent consumes of one producer share one pipe', async (t) => {
  const { pod, router, members, producers, consume } = await room(t, []);
  // To both transports of the second member, five times each.
  const target = members[1];
  const there = [0, 1, 2, 3, 4, 5].filter((i) => members[i] === target);
  const consumers = await Promise.all(
    [1, 2, 3, 4, 5].flatMap(() => there.map((to) => consume(0, to))),
  );
  await pipesAre(pod, router, [{ producer: producers[0], target }]);
  const [pipe] = await pipesOf(pod, router);
  assert.deepEqual([pipe.source, pipe.consumers], [members[0], consumers.length]);
  const counts = consumers.map((consumer) => {
    /** @type {number[]} */
    const received = [];
    consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
    return received;
  });
  const send = (/** @type {number} */ i) => producers[0].send(packet(1000, i));
  await sendAndAwait(100, send, counts[0]);
  await until('all have all', () => counts.every(({ length }) => length === 100));
});

// Protects the count: (producer, member with a consumer elsewhere), through changes.
test('pipes are exactly what consumers elsewhere need, and go when idle', async (t) => {
  const { pod, router, transports, members, producers, consume } = await room(t, [
    '--pipe-idle',
    '1',
  ]);
  /** @type {{ from: number, to: number, consumer: import('mediasoup').types.Consumer }[]} */
  let all = [];
  const expected = () => {
    const pairs = new Map();
    for (const { from, to, consumer } of all) {
      if (consumer.closed || members[from] === members[to]) continue;
      const target = members[to];
      pairs.set(`${from} ${target}`, { producer: producers[from], target });
    }
    return [...pairs.values()];
  };
  await pipesAre(pod, router, []);
  for (const [from, to] of [
    [0, 0],
    [0, 1],
    [0, 4],
    [0, 3],
    [1, 0],
    [2, 3],
    [1, 2],
    [2, 5],
    [1, 5],
  ]) {
    all.push({ from, to, consumer: await consume(from, to) });
    await pipesAre(pod, router, expected());
  }
  assert.ok(expected().length >= 4, `${expected().length} pairs`);

  all[1].consumer.close();
  await pipesAre(pod, router, expected());
  transports[4].close();
  await pipesAre(pod, router, expected());
  producers[1].close();
  await until('its consumers are closed', () =>
    all.every(({ from, consumer }) => from !== 1 || consumer.closed),
  );
  await pipesAre(pod, router, expected());
  for (const { consumer } of all) consumer.close();
  await pipesAre(pod, router, []);
  await until('the pipes are gone', async () => (await pipesOf(pod, router)).length === 0);
  const [{ transportIds }, { workers }] = [await router.dump(), await pod.status()];
  assert.equal(transportIds.length, 5, "the application's own alone");
  const onMembers = workers.map(({ carries }) => carries.transports);
  assert.equal(
    onMembers.reduce((sum, each) => sum + each),
    5,
    'and nothing else on members',
  );

  // As from the beginning.
  all = [{ from: 0, to: 2, consumer: await consume(0, 2) }];
  await pipesAre(pod, router, expected());
  /** @type {number[]} */
  const received = [];
  all[0].consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
  await sendAndAwait(50, (i) => producers[0].send(packet(1000, i)), received);
});

// Protects hot pipes: who comes back within the idle time finds the pipe that was there.
test('a pipe that is used again is not removed', async (t) => {
  const { pod, router, producers, consume, members } = await room(t, ['--pipe-idle', '2']);
  const pipe = () =>
    until('it was measured', async () => {
      const [pipe] = await pipesOf(pod, router);
      return pipe.bytes !== null && { ...pipe, bytes: Number(pipe.bytes) };
    });
  let bytes = 0;
  // Several times the idle time, but never as long at once.
  for (let i = 0; i < 5; i++) {
    const consumer = await consume(0, 1);
    let count = 0;
    consumer.on('rtp', () => count++);
    await pipesAre(pod, router, [{ producer: producers[0], target: members[1] }]);
    let next = 0;
    await until('it was measured again, with more in it', async () => {
      producers[0].send(packet(1000, next++));
      return count > 20 && (await pipe()).bytes > bytes;
    });
    // A new pipe would count from the beginning.
    const now = await pipe();
    assert.ok(now.bytes >= bytes, `${now.bytes} bytes after ${bytes}`);
    bytes = now.bytes;
    consumer.close();
    await pipesAre(pod, router, []);
  }
  assert.equal((await pipesOf(pod, router)).length, 1, 'it waits for the next');
  await until('it is gone', async () => (await pipesOf(pod, router)).length === 0);
});

// Protects the figures that operators see.
test('bytes of a pipe are those of what was sent through it', async (t) => {
  const { pod, router } = await startSpread(t);
  const { flow, inward, outward, producer } = await flowThrough(t, router, {
    ssrc: 1111,
    rtpParameters: opus(1111),
    interval: 10,
  });
  const measured = () =>
    until('bytes were measured', async () => {
      const [pipe] = await pipesOf(pod, router);
      assert.deepEqual(pipe.producers, [producer.id]);
      return pipe.bytes !== null && pipe;
    });
  await until('packets arrive', async () => (await flow.report()).received > 100);
  const first = await measured();
  const start = await flow.report();
  await until('more arrive', async () => (await flow.report()).received > start.received + 300);
  const before = await flow.report();
  const pipe = await until('it was measured since', async () => {
    const [pipe] = await pipesOf(pod, router);
    return Number(pipe.bytes) > Number(first.bytes) + 300 * 172 * 0.8 && pipe;
  });
  flow.stop();
  const after = await flow.report();
  const size = 172;
  assert.ok(
    Number(pipe.bytes) >= (before.received - 150) * size &&
      Number(pipe.bytes) <= after.sent * size * 1.5,
    `${pipe.bytes} bytes for ${before.received} to ${after.sent} packets of ${size}`,
  );
  // 100 packets a second, if the machine was not too busy to send them.
  const rate = Number(pipe.bytesPerSecond);
  assert.ok(rate > 40 * size && rate < 200 * size, `${rate} bytes a second`);
  assert.deepEqual([pipe.source, pipe.target], await membersOf(pod, inward, outward));
  t.diagnostic(`${pipe.bytes} bytes, ${rate} a second`);
});

for (const fanOut of [1, 2]) {
  // Protects members: nobody feeds more copies than it may, and everyone is served all the same.
  test(`five members, each feeds ${fanOut} at most: pipes become a tree`, async (t) => {
    const args = ['--pipe-fan-out', String(fanOut), '--pipe-depth', '4'];
    const { pod, router } = await startSpread(t, { workers: 5, args });
    const transports = await directTransports(pod, router, 5);
    const members = await membersOf(pod, ...transports);
    const { rtpCapabilities } = router;
    const producer = await transports[0].produce({ kind: 'audio', rtpParameters: opus(1111) });
    const counts = [];
    const consumers = [];
    for (const transport of transports) {
      const consumer = await transport.consume({ producerId: producer.id, rtpCapabilities });
      /** @type {number[]} */
      const received = [];
      consumer.on('rtp', (bytes) => received.push(indexOf(parse(bytes).payload)));
      counts.push(received);
      consumers.push(consumer);
    }
    const targets = members.slice(1);
    await pipesAre(
      pod,
      router,
      targets.map((target) => ({ producer, target })),
    );
    const pipes = await pipesOf(pod, router);
    for (const member of members) {
      const fed = pipes.filter(({ source }) => source === member).length;
      assert.ok(fed <= fanOut, `member ${member} feeds ${fed}`);
    }
    const send = (/** @type {number} */ i) => producer.send(packet(1111, i));
    await Promise.all(
      counts.map((received, i) => sendAndAwait(100, i ? () => {} : send, received)),
    );

    // What is said at the root is heard at the leaves.
    const paused = consumers.map((consumer) => event(consumer, 'producerpause'));
    await producer.pause();
    await Promise.all(paused);
    const closed = consumers.map((consumer) => event(consumer, 'producerclose'));
    producer.close();
    await Promise.all(closed);
  });
}
