// A media pod: `mafalda serve` with ports of its own.
import { program } from './programs.js';
import { Program } from './process.js';
import { mediaPorts } from './ports.js';
import { fetchIn } from './netns.js';
import { scopeOf } from './scope.js';
import { until } from './until.js';

/**
 * @typedef {object} PodOptions
 * @property {number} [workers]  warm workers; 1 unless told
 * @property {string} [listen]  "127.0.0.1:0" unless told; the port is found out
 * @property {string[]} [args]  more arguments of `mafalda serve`
 * @property {NodeJS.ProcessEnv} [env]
 * @property {string} [netns]  the network namespace it runs in
 */

/**
 * Starts a pod and waits until it is ready. It ends with `owner`.
 * @param {import('./scope.js').Owner} owner
 * @param {PodOptions} [options]
 */
export async function startPod(owner, { workers = 1, listen, args = [], env, netns } = {}) {
  const ports = await mediaPorts();
  const running = new Program(
    program('mafalda'),
    [
      'serve',
      ...['--listen', listen ?? '127.0.0.1:0'],
      ...['--workers', String(workers)],
      ...['--rtc-port', String(ports.rtcPort)],
      ...['--rtc-port-range', ports.rtcPortRange],
      ...args,
    ],
    { env, netns },
  );
  scopeOf(owner).after(() => running.stop());
  const [, url] = await running.says(/listening on (https?:\/\/[^\s"]+)/);
  const fetchHere = netns ? (url) => fetchIn(owner, netns, url) : fetchWithin;
  const pod = new Pod(running, url, ports, fetchHere);
  await until('the pod is ready', async () => (await pod.get('/readyz')).ok);
  return pod;
}

export class Pod {
  /**
   * @param {Program} running
   * @param {string} url
   * @param {{ rtcPort: number, rtcPortRange: string }} ports
   * @param {(url: string) => Promise<Response>} fetchHere  from where the pod can be reached
   */
  constructor(running, url, { rtcPort, rtcPortRange }, fetchHere) {
    this.program = running;
    this.fetchHere = fetchHere;
    /** Where its HTTP API is: "http://127.0.0.1:PORT". */
    this.url = url.replace(/\/$/, '');
    this.rtcPort = rtcPort;
    const [first, last] = rtcPortRange.split('-').map(Number);
    /** Ports of its plain and pipe transports. */
    this.rtcPortRange = { first, last };
  }

  get pid() {
    return this.program.pid;
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** What `MAFALDA_URL` must be for it: "ws://127.0.0.1:PORT". */
  get webSocketUrl() {
    return this.url.replace(/^http/, 'ws');
  }

  /** All it logged so far. */
  get logs() {
    return this.program.output;
  }

  /**
   * @param {string} path
   * @returns {Promise<Response>}
   */
  get(path) {
    return this.fetchHere(this.url + path);
  }

  /** `/v1/status`, as JSON. */
  async status() {
    const response = await this.get('/v1/status');
    if (!response.ok) throw new Error(`/v1/status: ${response.status} ${await response.text()}`);
    return response.json();
  }

  /** `/metrics`, as text. */
  async metrics() {
    return (await this.get('/metrics')).text();
  }

  /** Asks it to end and waits for that. */
  stop() {
    return this.program.stop();
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    return this.program.kill(signal);
  }
}

/** @param {string} url */
function fetchWithin(url) {
  return fetch(url, { signal: AbortSignal.timeout(5_000) });
}
