// The example conference, as anyone runs it: its server, and the pod that its media runs on.
import path from 'node:path';
import { startVirtualPod } from '../../lib/pod.js';
import { start } from '../../lib/process.js';
import { program } from '../../lib/programs.js';

const folder = path.resolve(import.meta.dirname, '../../../examples/conference');

/** A control: the same tests on a worker of mediasoup's own kind, without pod and relay. */
export const local = process.env.MAFALDA_TEST_LOCAL === '1';

/**
 * @typedef {object} ConferenceOptions
 * @property {NodeJS.ProcessEnv} [env]  more environment for the server
 * @property {string} [netns]  the network namespace that the server runs in
 * @property {import('../../lib/pod.js').Pod} [pod]  instead of a new one
 */

/**
 * Starts a conference on a pod and waits until it can be joined. Both end with `owner`.
 * @param {import('../../lib/scope.js').Owner} owner
 * @param {ConferenceOptions} [options]
 */
export async function startConference(owner, { env, netns, pod } = {}) {
  if (!local) pod ??= await startVirtualPod(owner, { netns });
  const server = start(owner, process.execPath, [path.join(folder, 'server/main.ts')], {
    env: {
      PORT: '0',
      MEDIASOUP_WORKER_BIN: program(pod ? 'mafalda-worker' : 'mafalda-media-worker'),
      ...(pod && { MAFALDA_URL: pod.webSocketUrl }),
      ...env,
    },
    netns,
  });
  const [, url] = await server.says(/conference ready on (\S+)/);
  return { url, server, pod: pod ?? null };
}
