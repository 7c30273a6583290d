// soak.mjs FOLDER SEED: as many ordinary mediasoup applications as FOLDER has folders, each on
// the Session of that name by the files of its Secret in it (`url`, `token`, `ca.crt`). They join and
// leave at random, from the seed, and do what applications do. The worker is what
// MEDIASOUP_WORKER_BIN names.
//
// It prints one line of JSON a second, and on SIGTERM, when all have left in order, a last one with
// `"event": "ended"`:
//   states      how many applications are in which state
//   joined      workers made; died: that died; failed: that were not to be had
//   crashed     applications that ended without a word to anybody, which is not their worker's death
//   sent        requests, as mediasoup's library sends them; answered: by the worker, or refused by it
//               (rejected, `reasons` says why); cut: the worker died or was closed; pending: the rest
//   lost        requests that a living worker did not answer within 60 s, each with its method
//   strays      answers that nobody asked for
//   slowestMs   the longest that an answer took
//   backMs      for each death since the line before: until there was a worker again
//   packets     of calls with real packets: sent, received, lost
import { setMaxListeners } from 'node:events';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import * as mediasoup from 'mediasoup';
import { Call } from './call.mjs';
import { Application } from './soak-application.mjs';
import { Requests } from './soak-requests.mjs';
import { Random } from './soak-random.mjs';

const PACKETS_A_SECOND = 25;
/** One application in so many has a call with real packets. */
const CALLS = 5;
/**
 * One in so many is large: soak/main.rs has the same number. With so many consumers at once the workers of
 * its home pod are above the watermark, and it needs another pod.
 */
const LARGE_EACH = 50;
const LARGE = 90;

const [folder, seed] = process.argv.slice(2);
const random = new Random(Number(seed));
const requests = new Requests();
mediasoup.setLogEventListeners({
  onwarn: (namespace, text) => console.error(`${namespace}: ${text}`),
  onerror: (namespace, text) => {
    console.error(`${namespace}: ${text}`);
    requests.sawError(text);
  },
});

const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
/** @type {Call[]} */
const calls = [];
const applications = await Promise.all(
  names.map(async (name, index) => {
    const call =
      index % CALLS === 0
        ? await Call.open(index + 1, index % LARGE_EACH === 0 ? LARGE : 2)
        : undefined;
    if (call) calls.push(call);
    return new Application(path.join(folder, name), random.fork(), requests, call);
  }),
);

function states() {
  const states = new Map();
  for (const { state } of applications) states.set(state, (states.get(state) ?? 0) + 1);
  return states;
}

/** @param {string} event */
function tell(event) {
  const sum = (of) => applications.reduce((total, application) => total + of(application), 0);
  const numbers = calls.flatMap((call) => call.numbers());
  const packets = { sent: 0, received: 0, lost: 0 };
  for (const one of numbers) for (const key of Object.keys(packets)) packets[key] += one[key];
  const line = {
    t: Date.now(),
    event,
    states: Object.fromEntries(states()),
    joined: sum(({ joined }) => joined),
    died: sum(({ died }) => died),
    failed: sum(({ failed }) => failed),
    crashed: sum(({ crashed }) => crashed),
    ...requests.numbers(),
    backMs: applications.flatMap((application) => application.takeBack()),
    packets,
  };
  console.log(JSON.stringify(line));
}

const stopping = new AbortController();
// Each application waits for it.
setMaxListeners(Infinity, stopping.signal);
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, () => stopping.abort());
const sending = setInterval(() => calls.forEach((call) => call.send()), 1000 / PACKETS_A_SECOND);
const telling = setInterval(() => tell('stats'), 1000);
await Promise.all(applications.map((application) => application.run(stopping.signal)));
clearInterval(sending);
clearInterval(telling);
tell('ended');
process.exit();
