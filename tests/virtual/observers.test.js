// Observers live on one member and hear producers of all.
import assert from 'node:assert/strict';
import test from 'node:test';
import { LOUD, QUIET, rtpPacket } from '../lib/frames.js';
import { opus } from '../lib/rtp.js';
import { until } from '../lib/until.js';
import {
  areApart,
  control,
  directTransports,
  killMember,
  membersOf,
  pipesAre,
  startSpread,
  topologyOf,
} from '../lib/virtual.js';

const PACKET_MS = 20;
const LEVEL = { uri: /** @type {const} */ ('urn:ietf:params:rtp-hdrext:ssrc-audio-level'), id: 1 };

/** How long a speaker goes on without a pause, and the pause, in packets. */
const SYLLABLE = 15;
const BREATH = 5;

/**
 * Someone with a microphone. `level` is what it hears, between pauses if `speaks`.
 * @param {import('mediasoup').types.DirectTransport} transport
 * @param {number} ssrc
 */
async function speaker(transport, ssrc) {
  const producer = await transport.produce({
    kind: 'audio',
    rtpParameters: { ...opus(ssrc), headerExtensions: [LEVEL] },
  });
  let next = 0;
  return {
    producer,
    level: QUIET,
    speaks: false,
    send() {
      const breathes = this.speaks && next % (SYLLABLE + BREATH) >= SYLLABLE;
      producer.send(
        rtpPacket({
          payloadType: 100,
          ssrc,
          sequenceNumber: next,
          timestamp: next * 960,
          extensions: { [LEVEL.id]: breathes ? QUIET : this.level },
          payload: Buffer.alloc(40, 0x78),
        }),
      );
      next++;
    },
  };
}

/**
 * Everyone sends until a condition holds.
 * @param {string} what
 * @param {{ send: () => void }[]} speakers
 * @param {() => unknown} condition
 */
function sendUntil(what, speakers, condition) {
  return until(
    what,
    () => {
      for (const speaker of speakers) speaker.send();
      return condition();
    },
    { every: PACKET_MS },
  );
}

/** @param {test.TestContext} t */
async function threeSpeakers(t) {
  const { pod, router } = await startSpread(t, { args: ['--pipe-idle', '1'] });
  const transports = await directTransports(pod, router, 3);
  const speakers = await Promise.all(
    transports.map((transport, i) => speaker(transport, 1000 + i)),
  );
  return { pod, router, transports, speakers };
}

/** The member of a router's only observer. */
async function observerOf(pod) {
  const { virtualWorkers } = await topologyOf(pod);
  const [observer] = virtualWorkers.flatMap(({ observers }) => observers);
  assert.ok(observer, 'the topology has the observer');
  return observer.member;
}

// Protects "who is loud" of a room over several members.
test('an audio level observer hears producers of all members', async (t) => {
  const { pod, router, transports, speakers } = await threeSpeakers(t);
  const observer = await router.createAudioLevelObserver({
    maxEntries: 3,
    threshold: -70,
    interval: 250,
  });
  /** @type {Map<string, number>[]} */
  const told = [];
  let silences = 0;
  observer.on('volumes', (volumes) => {
    told.push(new Map(volumes.map(({ producer, volume }) => [producer.id, volume])));
  });
  observer.on('silence', () => silences++);
  for (const { producer } of speakers) await observer.addProducer({ producerId: producer.id });
  speakers[2].level = LOUD;
  const last = () => told.at(-1);
  await sendUntil('all are heard', speakers, () => last()?.size === 3);
  assert.equal([...told.at(-1).keys()][0], speakers[2].producer.id, 'the loudest first');
  assert.equal(last()?.get(speakers[2].producer.id), -10);
  assert.equal(last()?.get(speakers[0].producer.id), -60);

  if (!control) {
    const target = await observerOf(pod);
    const members = await membersOf(pod, ...transports);
    const expected = speakers
      .map(({ producer }) => ({ producer, target }))
      .filter((_, i) => members[i] !== target);
    assert.equal(expected.length, 2);
    await pipesAre(pod, router, expected);
  }

  // One that is paused, removed or closed is not heard any more.
  await speakers[0].producer.pause();
  await sendUntil('the paused one is gone', speakers, () => last()?.size === 2);
  await speakers[0].producer.resume();
  await sendUntil('it is back', speakers, () => last()?.size === 3);
  await observer.removeProducer({ producerId: speakers[1].producer.id });
  await sendUntil('the removed one is gone', speakers, () => last()?.size === 2);
  speakers[0].producer.close();
  const others = speakers.slice(1);
  await sendUntil('the closed one is gone', others, () => last()?.size === 1);
  await speakers[2].producer.pause();
  await sendUntil('it is silent', others, () => silences > 0);
  if (!control) {
    observer.close();
    await pipesAre(pod, router, []);
  }
});

// Protects "who speaks": it cannot be merged from two observers, so all must come to one.
test('an active speaker observer compares producers of all members', async (t) => {
  const { router, speakers } = await threeSpeakers(t);
  const observer = await router.createActiveSpeakerObserver({ interval: 100 });
  /** @type {string | undefined} */
  let dominant;
  observer.on('dominantspeaker', ({ producer }) => (dominant = producer.id));
  for (const { producer } of speakers) await observer.addProducer({ producerId: producer.id });
  for (const speaker of speakers) {
    for (const other of speakers) {
      other.speaks = other === speaker;
      other.level = other.speaks ? LOUD : QUIET;
    }
    await sendUntil('it is the speaker', speakers, () => dominant === speaker.producer.id);
  }
});

// Protects rooms: an observer has no event for its end, so it must go on elsewhere.
test('an observer survives the member that it lives on', { skip: control }, async (t) => {
  const { pod, router, transports, speakers } = await threeSpeakers(t);
  const observer = await router.createAudioLevelObserver({
    maxEntries: 3,
    threshold: -70,
    interval: 250,
  });
  let heard = new Set();
  observer.on('volumes', (volumes) => {
    heard = new Set(volumes.map(({ producer }) => producer.id));
  });
  for (const { producer } of speakers) await observer.addProducer({ producerId: producer.id });
  await sendUntil('all are heard', speakers, () => heard.size === 3);
  const dead = await observerOf(pod);
  const members = await membersOf(pod, ...transports);
  await killMember(pod, dead);
  heard = new Set();
  const rest = speakers.filter((_, i) => members[i] !== dead);
  const ids = rest.map(({ producer }) => producer.id);
  assert.ok(rest.length >= 2);
  await sendUntil('the rest is heard', rest, () => ids.every((id) => heard.has(id)));

  const transport = await router.createDirectTransport();
  const newcomer = await speaker(transport, 1009);
  await observer.addProducer({ producerId: newcomer.producer.id });
  await sendUntil('a newcomer too', [...rest, newcomer], () => heard.has(newcomer.producer.id));
  await areApart(pod, ...transports.filter((_, i) => members[i] !== dead));
});
