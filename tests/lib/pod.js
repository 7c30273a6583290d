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
 * @property {string} [token]  lets this test read the status of a pod that has a key
 * @property {number} [fileLimit]  its soft limit of open files
 */

/** Whether tests of workers in general run on virtual ones. */
const onVirtual = process.env.MAFALDA_TEST_VIRTUAL === 'on';

/**
 * Starts a pod that gives real workers, one process each, and waits until it is ready. It ends with
 * `owner`.
 * @param {import('./scope.js').Owner} owner
 * @param {PodOptions} [options]
 */
export function startPod(owner, options = {}) {
  const { args = [] } = options;
  return start(owner, onVirtual ? options : { ...options, args: ['--virtual', 'off', ...args] });
}

/**
 * Starts a pod that gives virtual workers, as `startPod` does.
 * @param {import('./scope.js').Owner} owner
 * @param {PodOptions} [options]
 */
export function startVirtualPod(owner, options) {
  return start(owner, options);
}

/**
 * @param {import('./scope.js').Owner} owner
 * @param {PodOptions} [options]
 */
async function start(
  owner,
  { workers = 1, listen, args = [], env, netns, token, fileLimit } = {},
) {
  const ports = await mediaPorts();
  const command = [
    ...(fileLimit ? ['prlimit', `--nofile=${fileLimit}:`] : []),
    ...[program('mafalda'), 'serve'],
    ...['--listen', listen ?? '127.0.0.1:0'],
    ...['--workers', String(workers)],
    ...['--rtc-port', String(ports.rtcPort)],
    ...['--rtc-port-range', ports.rtcPortRange],
    ...args,
  ];
  const running = new Program(command[0], command.slice(1), { env, netns });
  scopeOf(owner).after(() => running.stop('SIGINT'));
  const [, url] = await running.says(/listening on (https?:\/\/[^\s"]+)/);
  /** @type {Record<string, string>} */
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const pod = new Pod(running, url, ports, (url) =>
    netns ? fetchIn(owner, netns, url, headers) : fetchHere(url, headers),
  );
  await until('the pod is ready', async () => (await pod.get('/readyz')).ok);
  return pod;
}

export class Pod {
  /**
   * @param {Program} running
   * @param {string} url
   * @param {{ rtcPort: number, rtcPortRange: string }} ports
   * @param {(url: string) => Promise<Response>} fetch  from where the pod can be reached
   */
  constructor(running, url, { rtcPort, rtcPortRange }, fetch) {
    this.program = running;
    this.fetch = fetch;
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
    return this.fetch(this.url + path);
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

  /** Ends it at once, in order, and waits for that. */
  stop() {
    return this.program.stop('SIGINT');
  }

  /**
   * The entry of an application's worker in `/v1/status`, whether it is real or virtual.
   * @param {{ pid: number }} worker
   */
  async entryOf({ pid }) {
    const { workers, virtualWorkers } = await this.status();
    const isIts = ({ connection }) => connection?.applicationPid === pid;
    return workers.find(isIts) ?? virtualWorkers.find(isIts);
  }

  /** @param {NodeJS.Signals} signal */
  kill(signal) {
    return this.program.kill(signal);
  }
}

/**
 * @param {string} url
 * @param {Record<string, string>} headers
 */
function fetchHere(url, headers) {
  return fetch(url, { headers, signal: AbortSignal.timeout(5_000) });
}
