// Four pages in one conference whose transports lie on three workers: its room is one all the
// same, and the end of one worker is the end of nothing else.
import assert from 'node:assert/strict';
import test from 'node:test';
import { until } from '../lib/until.js';
import { killMember, startSpreadPod, topologyOf } from '../lib/virtual.js';
import { join, startBrowser } from './support/browser.js';
import { local, startConference } from './support/conference.js';

const NAMES = ['Ada', 'Grace', 'Alan', 'Edsger'];
const PATIENCE = { within: 60_000, every: 200 };

/** @typedef {import('./support/participant.js').Participant} Participant */

/**
 * Waits until everybody decodes more of everybody else, picture and sound.
 * @param {Participant[]} people
 */
async function allSeeAndHearAll(people) {
  for (const person of people) {
    for (const other of people) if (other !== person) await person.tile(other.name).waitFor();
  }
  await Promise.all(people.map((person) => streamsGrow(person, people.length - 1)));
}

/**
 * Waits until `count` streams of each kind have brought more than now.
 * @param {Participant} person
 * @param {number} count
 */
async function streamsGrow(person, count) {
  const before = await progress(person);
  await until(
    `${person.name} sees and hears ${count} others`,
    async () => {
      const now = await progress(person);
      const growing = (/** @type {string} */ kind) =>
        [...now].filter(
          ([id, stream]) => stream.kind === kind && stream.done > (before.get(id)?.done ?? 0) + 5,
        ).length;
      return growing('video') >= count && growing('audio') >= count;
    },
    PATIENCE,
  );
}

/**
 * Of each stream that is received: frames, or packets of sound.
 * @param {Participant} person
 */
async function progress(person) {
  const { inbound } = await person.stats();
  return new Map(
    inbound.map((stream) => [
      stream.ssrc,
      {
        kind: stream.kind,
        done: (stream.kind === 'video' ? stream.framesDecoded : stream.packetsReceived) ?? 0,
      },
    ]),
  );
}

/**
 * The workers that a page's connections go to, by the ports.
 * @param {Participant} person
 * @param {import('../lib/pod.js').Pod} pod
 */
async function workersOf(person, pod) {
  const { paths } = await person.stats();
  return paths.map(({ remotePort }) => Number(remotePort) - pod.rtcPort);
}

// Protects the promise itself: an unmodified application spans workers, and survives one.
test('four pages on three workers; one worker dies', { skip: local }, async (t) => {
  const pod = await startSpreadPod(t);
  const { url, server } = await startConference(t, { pod });
  const browser = await startBrowser(t);
  const people = [];
  for (const name of NAMES) people.push(await join(browser, url, { name }));
  await allSeeAndHearAll(people);
  const { virtualWorkers, members } = await topologyOf(pod);
  const [{ transports, pipes }] = virtualWorkers;
  assert.equal(transports.length, 2 * people.length);
  assert.equal(new Set(transports.map(({ member }) => member)).size, 3, 'on three workers');
  assert.ok(pipes.length > 0);
  t.diagnostic(
    `${pipes.length} pipes, ${pipes.flatMap(({ producers }) => producers).length} copies`,
  );

  // A worker that some have nothing on.
  const used = await Promise.all(people.map((person) => workersOf(person, pod)));
  const [victim] = [0, 1, 2]
    .map((worker) => ({
      worker,
      spared: people.filter((_, i) => !used[i].includes(worker)),
      affected: people.filter((_, i) => used[i].includes(worker)),
    }))
    .filter(({ affected }) => affected.length > 0)
    .sort((a, b) => b.spared.length - a.spared.length);
  const { spared, affected } = victim;
  assert.ok(spared.length >= 2, `the workers of each page: ${JSON.stringify(used)}`);
  const banners = spared.map(({ page }) => watchForBanner(page));
  const bystanders = await Promise.all(spared.map(progress));

  const member = members.find(({ worker }) => worker === victim.worker);
  await killMember(pod, Number(member?.member));
  const start = performance.now();
  await Promise.all(
    affected.map(({ page }) => page.getByText(/^Reconnecting/).waitFor({ state: 'attached' })),
  );
  // Whoever has nothing there goes on seeing the others of their kind, on the same streams.
  await Promise.all(
    spared.map((person, i) =>
      until(
        `${person.name} goes on`,
        async () => {
          const now = await progress(person);
          const going = [...bystanders[i]].filter(([id, { kind, done }]) => {
            return kind === 'video' && Number(now.get(id)?.done) > done + 10;
          });
          return going.length >= spared.length - 1;
        },
        PATIENCE,
      ),
    ),
  );
  for (const { page } of affected) {
    await page.getByText(/^Reconnecting/).waitFor({ state: 'detached' });
  }
  await allSeeAndHearAll(people);
  t.diagnostic(
    `${affected.length} of ${people.length} pages came back, all see and hear all again after ${Math.round(performance.now() - start)} ms`,
  );
  for (const banner of banners)
    assert.equal(await banner(), false, 'the others were not disturbed');
  assert.equal(server.exit, undefined, 'the server runs');
  assert.deepEqual(
    people.flatMap(({ errors }) => errors),
    [],
  );
  await people[0].say('Still here');
  for (const person of people.slice(1)) await person.reads(people[0].name, 'Still here');
});

/**
 * Remembers whether a page was ever out of the room.
 * @param {import('playwright-core').Page} page
 * @returns {() => Promise<boolean>}
 */
function watchForBanner(page) {
  const started = page.evaluate(() => {
    const seen = () => document.body.innerText.includes('Reconnecting');
    window.wasInterrupted = seen();
    const observer = new MutationObserver(() => (window.wasInterrupted ||= seen()));
    observer.observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  return async () => {
    await started;
    return page.evaluate(() => window.wasInterrupted);
  };
}
