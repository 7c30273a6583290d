// What a gateway adds to an application's wait, against a direct connection to the same pod.
import { asFromAnotherHost, createWorker } from '../lib/application.js';
import { startGateway } from '../lib/gateway.js';
import { startPod } from '../lib/pod.js';
import { Scope } from '../lib/scope.js';
import { latency } from './latency.js';

/**
 * Both ask in turn, the channel carried by their connections: "local" is direct, "remote" through
 * the gateway.
 * @param {number} rounds
 */
export async function gatewayLatency(rounds) {
  const scope = new Scope();
  try {
    const pod = await startPod(scope, { workers: 2 });
    const gateway = await startGateway(scope, [pod]);
    const direct = await createWorker(scope, pod, {}, { env: asFromAnotherHost });
    const through = await createWorker(scope, gateway, {}, { env: asFromAnotherHost });
    return await latency(direct, through, rounds);
  } finally {
    await scope.end();
  }
}
