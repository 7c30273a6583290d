// calls.mjs [CALLS] [CONSUMERS] [ASKS]: an ordinary mediasoup application that holds calls, and the people in
// them: 50 packets a second go into each call and must come out of it to each of its consumers, so that
// it can tell what was lost and for how long. The worker is what MEDIASOUP_WORKER_BIN names, as for any
// application; when it dies, it does what any application does: a worker anew, and everything on it.
//
// It prints one line of JSON a second and for each event, until SIGTERM:
//   {"t": 1800000000000, "event": "…", "sent": 500, "received": 500, "lost": 0, "gapMs": 21}
// event: `ready` media flows in every call for the first time · `stats` each second · `died` the worker
//   did · `failed` no worker was to be had, with the reason in `error`, it tries again · `recovered`
//   media flows in every call again · `ended` the last line
// sent: packets for each consumer, from the first on that came through; received: that arrived;
// lost: that did not within a second; gapMs: the longest that a consumer got nothing, since the last line.
// With ASKS it asks its worker something that many times a second, and there is waitedMs: the longest that
// an answer took, since the last line.
import { setTimeout as delay } from 'node:timers/promises';
import * as mediasoup from 'mediasoup';
import { mediaCodecs } from '../../lib/rtp.js';
import { Call } from './call.mjs';

const PACKETS_A_SECOND = 50;
/** Until another try to make a worker, milliseconds. */
const RETRY = 200;
/** How long the last packets may take, milliseconds. */
const LAST = 1000;

const [calls = 1, consumers = 1, asks = 0] = process.argv.slice(2).map(Number);
let stopping = false;
const stop = new Promise((resolve) => {
  for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, resolve);
}).then(() => (stopping = true));
mediasoup.setLogEventListeners({
  onwarn: (namespace, text) => console.error(`${namespace}: ${text}`),
  onerror: (namespace, text) => console.error(`${namespace}: ${text}`),
});

const all = await Promise.all(
  Array.from({ length: calls }, (_, index) => Call.open(index + 1, consumers)),
);

let waitedMs = 0;
async function ask() {
  const begun = performance.now();
  // A worker that has died has no answer.
  const answered = await worker?.getResourceUsage().catch(() => {});
  if (answered) waitedMs = Math.max(waitedMs, Math.round(performance.now() - begun));
}

/** @param {string} event @param {object} [more] */
function tell(event, more) {
  const numbers = all.flatMap((call) => call.numbers());
  const sum = (name) => numbers.reduce((total, { [name]: number }) => total + number, 0);
  const gapMs = Math.round(Math.max(0, ...numbers.map(({ gap }) => gap)));
  const line = { t: Date.now(), event, sent: sum('sent'), received: sum('received') };
  const waited = asks ? { waitedMs } : {};
  waitedMs = 0;
  console.log(JSON.stringify({ ...line, lost: sum('lost'), gapMs, ...waited, ...more }));
}

/** Everything anew on a worker; done when media flows in every call. */
async function join(worker) {
  const router = await worker.createRouter({ mediaCodecs });
  await Promise.all(all.map((call) => call.join(router)));
}

const sending = setInterval(() => all.forEach((call) => call.send()), 1000 / PACKETS_A_SECOND);
const asking = asks ? setInterval(ask, 1000 / asks) : undefined;
const telling = setInterval(() => tell('stats'), 1000);
/** @type {mediasoup.types.Worker | undefined} */
let worker;
let flowing = 'ready';
while (!stopping) {
  worker = undefined;
  try {
    const made = mediasoup.createWorker();
    made.then((made) => (worker = made)).catch(() => {});
    await Promise.race([made, stop]);
    if (!worker) break;
    const died = new Promise((_, reject) => worker?.once('died', reject));
    await Promise.race([join(worker), died, stop]);
    if (!stopping) tell(flowing);
    flowing = 'recovered';
    await Promise.race([died, stop]);
  } catch (error) {
    const event = worker?.died ? 'died' : 'failed';
    tell(event, { error: String(error) });
    if (event === 'failed') {
      worker?.close();
      await Promise.race([delay(RETRY), stop]);
    }
  }
}
clearInterval(sending);
clearInterval(asking);
clearInterval(telling);
const last = performance.now() + LAST;
while (all.some((call) => call.waits()) && performance.now() < last) await delay(10);
worker?.close();
tell('ended');
process.exit();
