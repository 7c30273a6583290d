// A gateway: `mafalda cluster` in front of media pods.
import { startVirtualPod } from './pod.js';
import { Program } from './process.js';
import { program } from './programs.js';
import { scopeOf } from './scope.js';
import { until } from './until.js';

/**
 * @typedef {object} GatewayOptions
 * @property {string[]} [args]  more arguments of `mafalda cluster`
 * @property {string} [listen]  "127.0.0.1:0" unless told; the port is found out
 * @property {string} [token]  lets this test read its status
 * @property {boolean} [wait]  whether it must be ready; true unless told
 * @property {string[]} [prefix]  what its command begins with (lib/names.js)
 */

/** A gateway, as a test sees it. */
export class Gateway {
  #headers;

  /**
   * @param {Program} running
   * @param {string} url
   * @param {Record<string, string>} headers
   */
  constructor(running, url, headers) {
    this.program = running;
    /** Where it is: "http://127.0.0.1:PORT". */
    this.url = url.replace(/\/$/, '');
    this.#headers = headers;
  }

  get port() {
    return Number(new URL(this.url).port);
  }

  /** What `MAFALDA_URL` must be for it: "ws://127.0.0.1:PORT". */
  get webSocketUrl() {
    return this.url.replace(/^http/, 'ws');
  }

  /**
   * Asks it, and reads the answer.
   * @param {string} method
   * @param {string} path
   * @param {unknown} [body]  as JSON
   * @param {Record<string, string>} [headers]
   */
  async ask(method, path, body, headers = {}) {
    const response = await fetch(this.url + path, {
      method,
      headers: { ...this.#headers, ...headers },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(10_000),
    });
    const text = await response.text();
    let parsed;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not all answers are JSON.
    }
    return { status: response.status, headers: response.headers, text, body: parsed };
  }

  /** The state of each node, by its name. */
  async states() {
    const { status, text, body } = await this.ask('GET', '/v1/status');
    if (status !== 200) throw new Error(`/v1/status: ${status} ${text}`);
    /** @type {{ name: string, state: string }[]} */
    const nodes = body.nodes;
    return Object.fromEntries(nodes.map(({ name, state }) => [name, state]));
  }

  /**
   * Waits until nodes are in these states and there are no others.
   * @param {Record<string, string>} wanted  by name
   * @param {{ within?: number }} [options]
   */
  async statesAre(wanted, options) {
    const sorted = (/** @type {Record<string, string>} */ all) =>
      JSON.stringify(Object.entries(all).sort());
    await until(
      `the nodes are ${sorted(wanted)}`,
      async () => {
        const states = await this.states();
        if (sorted(states) === sorted(wanted)) return true;
        throw new Error(sorted(states));
      },
      options,
    );
  }

  /** @param {NodeJS.Signals} [signal] */
  stop(signal = 'SIGINT') {
    return this.program.stop(signal);
  }
}

/**
 * Starts a gateway and waits until all nodes that it was given answer. It ends with `owner`.
 * @param {import('./scope.js').Owner} owner
 * @param {import('./pod.js').Pod[]} pods  what `--node` names; with none `args` say where nodes come from
 * @param {GatewayOptions} [options]
 */
export async function startGateway(owner, pods, options = {}) {
  const { args = [], listen = '127.0.0.1:0', token, wait = true, prefix = [] } = options;
  const [command, ...before] = [...prefix, program('mafalda')];
  const running = new Program(
    command,
    [
      ...before,
      ...['cluster', '--listen', listen],
      ...(pods.length > 0 ? ['--node', ...pods.map((pod) => pod.webSocketUrl)] : []),
      ...args,
    ],
    // A token of whoever runs the tests is none of the gateway's.
    { env: { MAFALDA_TOKEN: undefined } },
  );
  scopeOf(owner).after(() => running.stop('SIGINT'));
  const [, url] = await running.says(/listening on (https?:\/\/[^\s"]+)/);
  /** @type {Record<string, string>} */
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  const gateway = new Gateway(running, url, headers);
  if (wait) {
    await until(
      'the gateway is ready',
      async () => (await gateway.ask('GET', '/readyz')).status === 200,
    );
    const wanted = pods.map((pod) => [nameOf(pod), 'ready']);
    // Without any the test knows them.
    if (wanted.length > 0) await gateway.statesAre(Object.fromEntries(wanted));
  }
  return gateway;
}

/** What a gateway calls a pod that it knows by its URL. @param {import('./pod.js').Pod} pod */
export function nameOf(pod) {
  return `127.0.0.1:${pod.port}`;
}

/**
 * Some pods of one worker and a gateway in front of them.
 * @param {import('./scope.js').Owner} owner
 * @param {number} count
 * @param {GatewayOptions & { podArgs?: string[], workers?: number }} [options]
 */
export async function startCluster(owner, count, { podArgs = [], workers, ...options } = {}) {
  const pods = [];
  for (let i = 0; i < count; i++) {
    pods.push(await startVirtualPod(owner, { args: podArgs, workers, token: options.token }));
  }
  const gateway = await startGateway(owner, pods, options);
  return { pods, gateway };
}

/**
 * Which of the pods has an application's worker.
 * @template {import('./pod.js').Pod} P
 * @param {P[]} pods
 * @param {{ pid: number }} worker
 * @returns {Promise<P>}
 */
export async function podOf(pods, worker) {
  for (const pod of pods) if (await pod.entryOf(worker)) return pod;
  throw new Error(`no pod has the worker ${worker.pid}`);
}
