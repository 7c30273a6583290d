// A program that a test runs: its output is kept, and it never outlives the test.
import { spawn } from 'node:child_process';
import { atExit, scopeOf } from './scope.js';
import { until } from './until.js';

/**
 * @typedef {object} StartOptions
 * @property {NodeJS.ProcessEnv} [env]  added to this process's own
 * @property {string} [cwd]
 * @property {string} [netns]  run it in this network namespace (lib/netns.js)
 * @property {boolean} [echo]  also show its output here
 * @property {boolean} [ipc]  a Node program that talks with this one by `process.send`
 * @property {boolean} [stdin]  it reads what `child.stdin` is given
 */

/**
 * @param {import('./scope.js').Owner} owner
 * @param {string} command
 * @param {string[]} [args]
 * @param {StartOptions} [options]
 */
export function start(owner, command, args = [], options = {}) {
  const running = new Program(command, args, options);
  scopeOf(owner).after(() => running.stop());
  return running;
}

export class Program {
  /** All it wrote so far. */
  stdout = '';
  stderr = '';
  /** @type {{ code: number | null, signal: NodeJS.Signals | null } | undefined} */
  exit;

  /**
   * @param {string} command
   * @param {string[]} args
   * @param {StartOptions} options
   */
  constructor(
    command,
    args,
    { env = {}, cwd, netns, echo = !!process.env.TEST_ECHO, ipc = false, stdin = false } = {},
  ) {
    this.command = command;
    if (netns) {
      // nsenter replaces itself by the program, so the process id stays the program's.
      // `ip netns exec` would mount /sys anew.
      args = [`--net=/var/run/netns/${netns}`, '--', command, ...args];
      command = 'nsenter';
    }
    /** @type {import('node:child_process').StdioOptions} */
    const stdio = [stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'];
    if (ipc) stdio.push('ipc');
    this.child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio });
    for (const name of /** @type {const} */ (['stdout', 'stderr'])) {
      this.child[name]?.setEncoding('utf8').on('data', (text) => {
        this[name] += text;
        if (echo) process.stderr.write(text);
      });
    }
    const forget = atExit(() => this.kill('SIGKILL'));
    /** Resolves when it has ended and all its output is here. */
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error) => {
        this.stderr += `${error.message}\n`;
        this.exit = { code: null, signal: null };
        forget();
        resolve(this.exit);
      });
      this.child.once('close', (code, signal) => {
        this.exit = { code, signal };
        forget();
        resolve(this.exit);
      });
    });
  }

  get pid() {
    return /** @type {number} */ (this.child.pid);
  }

  get output() {
    return this.stdout + this.stderr;
  }

  /** @param {NodeJS.Signals} signal  true when it was sent */
  kill(signal) {
    return this.exit === undefined && this.child.exitCode === null && this.child.kill(signal);
  }

  /**
   * Asks it to end, and ends it by force when it does not within 10 s.
   * @param {NodeJS.Signals} [signal]
   */
  async stop(signal = 'SIGTERM') {
    this.kill(signal);
    const timer = setTimeout(() => this.kill('SIGKILL'), 10_000);
    const exit = await this.ended;
    clearTimeout(timer);
    return exit;
  }

  /**
   * Waits until its output matches, and returns the match.
   * @param {RegExp} pattern
   * @param {{ within?: number }} [options]
   * @returns {Promise<RegExpMatchArray>}
   */
  async says(pattern, { within = 15_000 } = {}) {
    const what = `${this.command} says ${pattern}`;
    await until(what, () => pattern.test(this.output) || this.exit, { within }).catch(() => {});
    const found = this.output.match(pattern);
    if (found) return found;
    const state = this.exit ? `it ended: ${JSON.stringify(this.exit)}` : `not within ${within} ms`;
    throw new Error(`waited in vain until ${what}: ${state}\n--- its output\n${this.output}`);
  }
}
