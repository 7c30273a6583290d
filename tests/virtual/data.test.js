// Data channels between members: messages arrive whole, in order where that was asked for.
import assert from 'node:assert/strict';
import test from 'node:test';
import { event, until } from '../lib/until.js';
import { areApart, directTransports, startSpread } from '../lib/virtual.js';
import { connectClient } from '../lib/webrtc-client.js';

const MESSAGES = 200;
const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/** @param {number} i  a message of its own length and content */
function message(i) {
  return i % 2 ? `message ${i} ${'x'.repeat(i * 7)}` : Buffer.alloc(1 + i * 11, i & 0xff);
}

const messages = Array.from({ length: MESSAGES }, (_, i) => message(i));

/** Text for what is compared: a Buffer's bytes and a string's are not the same message. */
const shown = (/** @type {Buffer | string} */ message) =>
  typeof message === 'string' ? message : `bytes ${message.toString('base64')}`;

/**
 * Messages of a data consumer of a direct transport, as they were sent.
 * @param {import('mediasoup').types.DataConsumer} consumer
 */
function collect(consumer) {
  /** @type {(Buffer | string)[]} */
  const received = [];
  // 51 and 53 are binary, 50 and 56 text (RFC 8831).
  consumer.on('message', (bytes, ppid) =>
    received.push(ppid === 51 || ppid === 56 ? bytes.toString() : Buffer.from(bytes)),
  );
  return received;
}

/**
 * A client with SCTP on a transport of its own.
 * @param {test.TestContext} t
 * @param {import('mediasoup').types.Router} router
 */
async function client(t, router) {
  const transport = await router.createWebRtcTransport({ listenInfos, enableSctp: true });
  const peer = await connectClient(t, transport);
  assert.ok(transport.sctpParameters);
  await peer.startSctp(transport.sctpParameters);
  await until('the worker has SCTP connected', () => transport.sctpState === 'connected');
  return { transport, peer };
}

for (const { name, stream } of [
  { name: 'ordered', stream: { ordered: true } },
  { name: 'unordered', stream: { ordered: false } },
  { name: 'unordered, few retransmits', stream: { ordered: false, maxRetransmits: 3 } },
]) {
  // Protects chats and games: each message once and whole, whatever lies between the clients.
  test(`a data channel between clients of two members: ${name}`, async (t) => {
    const { pod, router } = await startSpread(t);
    const [near, far] = [await client(t, router), await client(t, router)];
    await areApart(pod, near.transport, far.transport);
    const producer = await near.transport.produceData({
      sctpStreamParameters: { streamId: 3, ...stream },
      label: 'chat',
      protocol: 'text',
    });
    const consumer = await far.transport.consumeData({ dataProducerId: producer.id });
    assert.deepEqual([consumer.label, consumer.protocol], ['chat', 'text']);
    const { streamId = 0, ...parameters } = consumer.sctpStreamParameters ?? {};
    assert.equal(parameters.ordered, stream.ordered);
    assert.equal(parameters.maxRetransmits, stream.maxRetransmits);
    const down = await far.peer.channel(streamId, stream);
    /** @type {(Buffer | string)[]} */
    const received = [];
    down.onMessage.subscribe((message) => received.push(message));
    const up = await near.peer.channel(3, stream);
    // The client takes unordered messages of one SCTP chunk alone.
    const some = stream.ordered ? messages : messages.slice(0, 60);
    for (const [i, message] of some.entries()) {
      up.send(message);
      // A few at a time: what is not sent again must find room.
      if (i % 20 === 19) await until('they came', () => received.length === i + 1);
    }
    const [sent, arrived] = [some.map(shown), received.map(shown)];
    if (stream.ordered) assert.deepEqual(arrived, sent);
    else assert.deepEqual(arrived.sort(), sent.sort());

    const [stats] = await producer.getStats();
    assert.equal(stats.messagesReceived, some.length);
    const [consumed] = await consumer.getStats();
    assert.equal(consumed.messagesSent, some.length);
  });
}

// Protects order where many messages are under way at once.
test('a burst of ordered messages arrives in order, large ones too', async (t) => {
  const { pod, router } = await startSpread(t);
  const { transport, peer } = await client(t, router);
  const [direct] = await directTransports(pod, router, 1);
  await areApart(pod, transport, direct);
  const producer = await transport.produceData({
    sctpStreamParameters: { streamId: 3, ordered: true },
  });
  const received = collect(await direct.consumeData({ dataProducerId: producer.id }));
  const up = await peer.channel(3);
  const sent = [...messages, Buffer.alloc(60_000, 1), 'the last'];
  for (const message of sent) up.send(message);
  await until('all came', () => received.length === sent.length);
  assert.deepEqual(received.map(shown), sent.map(shown));
});

// Protects applications that speak to their clients: their own messages, in both directions.
test('an application and a client on another member', async (t) => {
  const { pod, router } = await startSpread(t);
  const { transport, peer } = await client(t, router);
  const [direct] = await directTransports(pod, router, 1);
  await areApart(pod, transport, direct);

  const down = await direct.produceData({ label: 'down' });
  const atClient = await transport.consumeData({ dataProducerId: down.id, ordered: true });
  /** @type {(Buffer | string)[]} */
  const arrivedDown = [];
  const channel = await peer.channel(atClient.sctpStreamParameters?.streamId ?? 0);
  channel.onMessage.subscribe((message) => arrivedDown.push(message));
  for (const message of messages) down.send(message);
  await until('the client has them', () => arrivedDown.length === MESSAGES);
  assert.deepEqual(arrivedDown.map(shown), messages.map(shown));

  // The application may also write to one consumer alone.
  await atClient.send('for you');
  await until('it came', () => arrivedDown.at(-1) === 'for you');

  const up = await transport.produceData({ sctpStreamParameters: { streamId: 3, ordered: true } });
  const arrivedUp = collect(await direct.consumeData({ dataProducerId: up.id }));
  const upward = await peer.channel(3);
  for (const message of messages) upward.send(message);
  await until('the application has them', () => arrivedUp.length === MESSAGES);
  assert.deepEqual(arrivedUp.map(shown), messages.map(shown));
});

// Protects direct data, which the pod itself carries between members.
test('data between direct transports, both ways at once', async (t) => {
  const { pod, router } = await startSpread(t);
  const transports = await directTransports(pod, router, 3);
  const producers = await Promise.all(transports.map((transport) => transport.produceData()));
  /** @type {(Buffer | string)[][]} */
  const received = [];
  for (const [i, producer] of producers.entries()) {
    for (const [j, transport] of transports.entries()) {
      if (i === j) continue;
      received.push(collect(await transport.consumeData({ dataProducerId: producer.id })));
    }
  }
  for (const message of messages) for (const producer of producers) producer.send(message);
  await until('all came', () => received.every(({ length }) => length === MESSAGES));
  for (const each of received) assert.deepEqual(each.map(shown), messages.map(shown));
});

for (const kind of ['direct', 'SCTP']) {
  // Protects pauses: what is sent meanwhile is gone, what is sent after is not.
  test(`a pause of a data producer or consumer far away (${kind})`, async (t) => {
    const { pod, router } = await startSpread(t);
    const { transport, peer } = await client(t, router);
    const [direct, other] = await directTransports(pod, router, 2);
    await areApart(pod, transport, direct, other);
    const producer =
      kind === 'direct'
        ? await other.produceData()
        : await transport.produceData({ sctpStreamParameters: { streamId: 3, ordered: true } });
    const consumer = await direct.consumeData({ dataProducerId: producer.id });
    const channel = kind === 'SCTP' ? await peer.channel(3) : producer;
    const received = collect(consumer);
    let sent = 0;
    const send = async (/** @type {string} */ text) => {
      channel.send(text);
      sent++;
      // The producer counts it also when it is paused.
      await until('the producer has it', async () => {
        const [{ messagesReceived }] = await producer.getStats();
        return messagesReceived === sent;
      });
    };

    await send('first');
    await until('it came', () => received.length === 1);
    await Promise.all([event(consumer, 'dataproducerpause'), producer.pause()]);
    assert.deepEqual([producer.paused, consumer.dataProducerPaused], [true, true]);
    await send('while the producer pauses');
    await Promise.all([event(consumer, 'dataproducerresume'), producer.resume()]);
    await send('second');
    await until('it came', () => received.length === 2);

    await consumer.pause();
    await send('while the consumer pauses');
    // It is on its way through the pipe: another consumer there tells when it is over.
    const witness = collect(await direct.consumeData({ dataProducerId: producer.id }));
    await send('still pausing');
    await until('it is over', () => witness.at(-1) === 'still pausing');
    await consumer.resume();
    await send('third');
    await until('it came', () => received.length === 3);
    assert.deepEqual(received, ['first', 'second', 'third']);
  });
}

/**
 * What three consumers get of messages to subchannels.
 * @param {import('mediasoup').types.DirectTransport} from
 * @param {import('mediasoup').types.DirectTransport} to
 */
async function throughSubchannels(from, to) {
  const producer = await from.produceData();
  const open = async (/** @type {number[] | undefined} */ subchannels) => {
    const consumer = await to.consumeData({ dataProducerId: producer.id, subchannels });
    return { consumer, received: collect(consumer) };
  };
  const [all, one, two] = [await open(undefined), await open([1]), await open([1, 2])];
  assert.deepEqual([...two.consumer.subchannels].sort(), [1, 2]);
  const send = (
    /** @type {string} */ text,
    /** @type {number[] | undefined} */ subchannels,
    /** @type {number | undefined} */ required,
  ) => producer.send(text, undefined, subchannels, required);
  const arrived = async (/** @type {string} */ mark) => {
    send(mark, undefined, undefined);
    for (const { received } of [all, one, two])
      await until('all are through', () => received.at(-1) === mark);
  };
  send('to all', undefined, undefined);
  send('to one and two', [1], undefined);
  send('to two', [2], undefined);
  send('to whoever has two', [1, 2], 2);
  send('to nobody', [7], undefined);
  await arrived('before');
  await one.consumer.setSubchannels([2]);
  await two.consumer.addSubchannel(9);
  send('to two, and one since it changed', [2], undefined);
  send('to nine', [9], undefined);
  await arrived('after');
  return [all, one, two].map(({ received }) => received);
}

// Protects subchannels: the last leg filters, as on one worker.
test('subchannels of data between members', async (t) => {
  const { pod, router } = await startSpread(t);
  const [near, far] = await directTransports(pod, router, 2);
  const real = await startSpread(t, { args: ['--virtual', 'off'] });
  const alone = await real.router.createDirectTransport();
  const expected = await throughSubchannels(alone, alone);
  assert.equal(expected[1].includes('to two, and one since it changed'), true);
  assert.deepEqual(await throughSubchannels(near, far), expected);
});

// Protects events of data: a close is heard on all members.
test('a data producer that is closed ends its consumers on all members', async (t) => {
  const { pod, router } = await startSpread(t);
  const { transport } = await client(t, router);
  const [direct, other] = await directTransports(pod, router, 2);
  await areApart(pod, transport, direct, other);
  for (const make of [
    () => transport.produceData({ sctpStreamParameters: { streamId: 3, ordered: true } }),
    () => direct.produceData(),
  ]) {
    const producer = await make();
    const consumers = await Promise.all(
      [direct, other].map((each) => each.consumeData({ dataProducerId: producer.id })),
    );
    const ends = consumers.map((consumer) => event(consumer, 'dataproducerclose'));
    producer.close();
    await Promise.all(ends);
  }
});
