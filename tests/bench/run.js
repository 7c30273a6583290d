// Benchmarks of remote and virtual workers on loopback against a local one, of gateway and pipes: what
// `make bench` shows. `npm run bench packets tree` runs these parts alone. Meant for an otherwise idle
// machine. The last line is all of it as JSON.
import os from 'node:os';
import { asFromAnotherHost, closeWith, createWorker, mediasoup } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { program } from '../lib/programs.js';
import { Scope } from '../lib/scope.js';
import { gatewayLatency } from './gateway.js';
import { latency } from './latency.js';
import { packetTimes } from './packets.js';
import { relayMemory, relayStart } from './relay.js';
import { rustLatency } from './rust.js';
import { round } from './statistics.js';
import { throughput } from './throughput.js';
import { CONSUMERS, byHand, onSix } from './tree.js';
import { virtualLatency } from './virtual.js';

/** Application and pod on one host, as here, and as if they were not: then TCP carries the channel. */
const phases = /** @type {const} */ ([
  { name: 'one host, --listen-infos application', listenInfos: 'application', env: undefined },
  { name: 'one host, --listen-infos pod', listenInfos: 'pod', env: undefined },
  { name: 'over TCP, --listen-infos pod', listenInfos: 'pod', env: asFromAnotherHost },
]);

const rounds = Number(process.env.BENCH_ROUNDS ?? 2000);
const scope = new Scope();

async function createLocal() {
  const worker = await mediasoup.createWorker({ workerBin: program('mafalda-media-worker') });
  closeWith(scope, worker);
  return worker;
}

/**
 * @param {string} title
 * @param {ReturnType<typeof import('./statistics.js').compare>} comparison
 * @param {[string, string]} [names]  of the two sides
 */
function show(title, { median, p99, rounds }, [first, second] = ['local', 'remote']) {
  const side = ({ localMicros, remoteMicros, ratio }) =>
    `${localMicros} µs ${first}, ${remoteMicros} µs ${second}, ratio ${ratio}`;
  console.log(`${title} (${rounds} rounds)\n  median ${side(median)}\n  p99    ${side(p99)}`);
}

/**
 * @param {string} title
 * @param {Awaited<ReturnType<typeof byHand>>} measured
 * @param {[string, string]} names  of the two rooms
 */
function showTree(title, { packetsPerSecond, received, measured, base, ratio }, [first, second]) {
  console.log(
    `CPU a packet, 1 producer to ${CONSUMERS} SRTP consumers on ${title}, ${packetsPerSecond} packets a second: ` +
      `${measured.micros} µs ${first} (${measured.rounds.join(', ')}), ${base.micros} µs ${second} (${base.rounds.join(', ')}), ` +
      `ratio ${ratio}; ${round(received * 100, 1)} % arrived`,
  );
}

/** Each fills in what it measured. @type {Record<string, (results: Record<string, any>) => Promise<void>>} */
const parts = {
  async remote(results) {
    const local = await createLocal();
    for (const { name, listenInfos, env } of phases) {
      const pod = await startPod(scope, { args: ['--listen-infos', listenInfos] });
      const remote = await createWorker(scope, pod, {}, { env });
      const result = await latency(local, remote, rounds);
      show(`createWebRtcTransport + close, ${name}`, result.createAndClose);
      show(`worker.dump, ${name}`, result.dump);
      /** @type {Record<string, any>} */
      const measured = { ...result, throughput: await throughput(local, remote, 8) };
      for (const [kind, { localPerSecond, remotePerSecond, ratio }] of Object.entries(
        measured.throughput,
      )) {
        console.log(
          `${kind} a second, ${name}: ${localPerSecond} local, ${remotePerSecond} remote, ratio ${ratio}`,
        );
      }
      measured.memory = relayMemory(remote);
      console.log(
        `relay's memory after all this: ${measured.memory.residentMiB} MiB, at most ${measured.memory.peakMiB} MiB`,
      );
      measured.rust = await rustLatency(scope, pod, remote, rounds);
      for (const [call, { rustMicros, nodeMicros, rounds }] of Object.entries(measured.rust)) {
        console.log(
          `answer to ${call}, ${name} (${rounds} rounds): median ${rustMicros} µs in Rust, ${nodeMicros} µs in Node`,
        );
      }
      results[name] = measured;
      if (env === undefined && listenInfos === 'pod') {
        const create = { local: createLocal, remote: () => createWorker(scope, pod) };
        results.start = await relayStart(create, 40);
        console.log(
          `createWorker: median ${results.start.local.medianMillis} ms local, ${results.start.remote.medianMillis} ms remote`,
        );
      }
      remote.close();
      await pod.stop();
    }
    local.close();
  },

  async virtual(results) {
    const local = await createLocal();
    results.virtual = {};
    for (const [name, env] of Object.entries({ 'one host': {}, 'over TCP': asFromAnotherHost })) {
      const measured = await virtualLatency(scope, local, env, rounds);
      results.virtual[name] = measured;
      for (const [what, comparison] of Object.entries(measured)) {
        show(`virtual worker of 4, ${name}, ${what}`, comparison);
      }
    }
    local.close();
  },

  async gateway(results) {
    results.gateway = await gatewayLatency(rounds);
    for (const [what, comparison] of Object.entries(results.gateway)) {
      show(`gateway, ${what}`, comparison, ['direct', 'through it']);
    }
  },

  async packets(results) {
    results.packets = await packetTimes(5 * rounds);
    for (const [where, { rounds, median, p99 }] of Object.entries(results.packets)) {
      const line = ({ socketMicros, noneMicros, oneMicros, twoMicros, oneRatio, twoRatio }) =>
        `${noneMicros} µs without a pipe, ${oneMicros} µs through one (ratio ${oneRatio}), ` +
        `${twoMicros} µs through two (ratio ${twoRatio}); ${socketMicros} µs without a worker`;
      console.log(
        `a packet's time, ${where} (${rounds} rounds)\n  median ${line(median)}\n  p99    ${line(p99)}`,
      );
    }
  },

  async tree(results) {
    results.tree = await byHand();
    showTree('2 workers', results.tree, ['virtual', 'piped by hand']);
  },

  async six(results) {
    results.six = await onSix();
    showTree('6 workers', results.six, ['a tree over 6', 'on one worker']);
  },
};

try {
  const wanted = process.argv.slice(2);
  const unknown = wanted.filter((name) => !Object.hasOwn(parts, name));
  if (unknown.length > 0) {
    throw new Error(`no part ${unknown.join()}: there are ${Object.keys(parts).join(', ')}`);
  }
  /** @type {Record<string, any>} */
  const results = {
    machine: { cpu: os.cpus()[0]?.model, cores: os.cpus().length, load: os.loadavg()[0] },
  };
  for (const [name, part] of Object.entries(parts)) {
    if (wanted.length === 0 || wanted.includes(name)) await part(results);
  }
  console.log(JSON.stringify(results));
} finally {
  await scope.end();
}
