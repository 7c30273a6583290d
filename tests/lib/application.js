// An unmodified mediasoup application, as far as the tests need one.
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import * as mediasoup from 'mediasoup';
import { program } from './programs.js';
import { scopeOf } from './scope.js';
import { temporaryDirectory } from './temporary.js';

export { mediasoup };

/** Environment of a relay that treats a pod on this host as one on another. */
export const asFromAnotherHost = { MAFALDA_HAND_OVER: 'off' };

/**
 * `mediasoup.createWorker()` with Mafalda's relay as the worker program, set to a pod. The
 * worker is closed with `owner`.
 * @param {import('./scope.js').Owner} owner
 * @param {{ webSocketUrl: string } | string} pod
 * @param {import('mediasoup').types.WorkerSettings} [settings]
 * @param {{ env?: NodeJS.ProcessEnv }} [options]  more environment for the relay: its token
 */
export async function createWorker(owner, pod, settings = {}, { env = {} } = {}) {
  const MAFALDA_URL = typeof pod === 'string' ? pod : pod.webSocketUrl;
  const worker = await withEnvironment({ MAFALDA_URL, ...env }, () =>
    // mediasoup spawns the program before it waits for anything.
    mediasoup.createWorker({ workerBin: program('mafalda-worker'), ...settings }),
  );
  closeWith(owner, worker);
  return worker;
}

/**
 * Closes a worker with `owner`, and waits until its process is gone.
 * @param {import('./scope.js').Owner} owner
 * @param {import('mediasoup').types.Worker} worker
 */
export function closeWith(owner, worker) {
  const gone = new Promise((resolve) => worker.once('subprocessclose', () => resolve(undefined)));
  scopeOf(owner).after(() => {
    if (worker.subprocessClosed) return undefined;
    worker.close();
    return gone;
  });
}

/**
 * A relay that runs in a network namespace, as a `workerBin`.
 * @param {import('./scope.js').Owner} owner
 * @param {string} netns
 */
export async function relayIn(owner, netns) {
  const file = path.join(await temporaryDirectory(owner), 'relay');
  const relay = program('mafalda-worker');
  await writeFile(
    file,
    `#!/bin/sh\nexec nsenter --net=/var/run/netns/${netns} -- ${relay} "$@"\n`,
    { mode: 0o755 },
  );
  return file;
}

/**
 * A relay whose words for people are kept in a file, as a `workerBin`.
 * @param {import('./scope.js').Owner} owner
 */
export async function relayWithLog(owner) {
  const directory = await temporaryDirectory(owner);
  const [workerBin, log] = [path.join(directory, 'relay'), path.join(directory, 'relay.log')];
  const script = `#!/bin/sh\nexec ${program('mafalda-worker')} "$@" 2>>'${log}'\n`;
  await writeFile(workerBin, script, { mode: 0o755 });
  return { workerBin, log };
}

/**
 * @template T
 * @param {NodeJS.ProcessEnv} variables
 * @param {() => T} action  runs with them, as far as it is synchronous
 */
function withEnvironment(variables, action) {
  const before = { ...process.env };
  Object.assign(process.env, variables);
  try {
    return action();
  } finally {
    for (const name of Object.keys(variables)) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}
