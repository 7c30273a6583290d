// Benchmarks of remote and virtual workers on loopback against a local one: what `make bench` shows.
// Meant for an otherwise idle machine. The last line is all of it as JSON.
import os from 'node:os';
import { asFromAnotherHost, closeWith, createWorker, mediasoup } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { program } from '../lib/programs.js';
import { Scope } from '../lib/scope.js';
import { gatewayLatency } from './gateway.js';
import { latency } from './latency.js';
import { relayMemory, relayStart } from './relay.js';
import { rustLatency } from './rust.js';
import { round } from './statistics.js';
import { throughput } from './throughput.js';
import { CONSUMERS, tree } from './tree.js';
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

/** @param {string} title @param {ReturnType<typeof import('./statistics.js').compare>} comparison */
function show(title, { median, p99, rounds }) {
  const side = ({ localMicros, remoteMicros, ratio }) =>
    `${localMicros} µs local, ${remoteMicros} µs remote, ratio ${ratio}`;
  console.log(`${title} (${rounds} rounds)\n  median ${side(median)}\n  p99    ${side(p99)}`);
}

try {
  /** @type {Record<string, any>} */
  const results = {
    machine: { cpu: os.cpus()[0]?.model, cores: os.cpus().length, load: os.loadavg()[0] },
  };
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
  results.virtual = {};
  for (const [name, env] of Object.entries({ 'one host': {}, 'over TCP': asFromAnotherHost })) {
    const measured = await virtualLatency(scope, local, env, rounds);
    results.virtual[name] = measured;
    for (const [what, comparison] of Object.entries(measured)) {
      show(`virtual worker of 4, ${name}, ${what}`, comparison);
    }
  }
  results.gateway = await gatewayLatency(rounds);
  for (const [what, { median, p99, rounds }] of Object.entries(results.gateway)) {
    const side = ({ localMicros, remoteMicros, ratio }) =>
      `${localMicros} µs direct, ${remoteMicros} µs through it, ratio ${ratio}`;
    console.log(
      `gateway, ${what} (${rounds} rounds)\n  median ${side(median)}\n  p99    ${side(p99)}`,
    );
  }
  results.tree = await tree(scope);
  const { packetsPerSecond, received, virtual, bare, ratio } = results.tree;
  console.log(
    `CPU a packet, 1 producer to ${CONSUMERS} SRTP consumers on 2 workers, ${packetsPerSecond} packets a second: ` +
      `${virtual.micros} µs virtual (${virtual.rounds.join(', ')}), ${bare.micros} µs piped by hand (${bare.rounds.join(', ')}), ` +
      `ratio ${ratio}; ${round(received * 100, 1)} % arrived`,
  );
  console.log(JSON.stringify(results));
} finally {
  await scope.end();
}
