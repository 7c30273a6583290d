// A session moves to another pod, and its application follows: the relay reads from a file where it is.
import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'node:test';
import { asFromAnotherHost, createWorker } from '../lib/application.js';
import { startVirtualPod } from '../lib/pod.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { event } from '../lib/until.js';

const session = '/v1/sessions/call';

/** @param {import('../lib/pod.js').Pod} pod @param {string} method @param {object} [body] */
async function ask(pod, method, body) {
  const response = await fetch(pod.url + session, { method, body: body && JSON.stringify(body) });
  assert.ok(response.ok, `${response.status}`);
}

/** Two pods, of which the first has the session, and a file that says so. */
async function start(t) {
  const [first, second] = await Promise.all([startVirtualPod(t), startVirtualPod(t)]);
  const file = path.join(await temporaryDirectory(t), 'url');
  /** @param {import('../lib/pod.js').Pod} pod  written as the kubelet does it */
  const name = async (pod) => {
    await writeFile(`${file}.new`, `${pod.webSocketUrl}${session}\n`);
    await rename(`${file}.new`, file);
  };
  await ask(first, 'PUT', { generation: 1 });
  await name(first);
  return { first, second, name, env: { MAFALDA_URL_FILE: file, ...asFromAnotherHost } };
}

test('a new worker waits until the file names the pod that has the session', async (t) => {
  const { first, second, name, env } = await start(t);
  const worker = await createWorker(t, '', {}, { env });
  const died = event(worker, 'died');
  await ask(first, 'DELETE');
  await died;
  let made = false;
  const next = createWorker(t, '', {}, { env }).finally(() => (made = true));
  await ask(second, 'PUT', { generation: 2 });
  // It has asked the first pod, which does not have the session any more.
  await first.program.says(/unknownSession/);
  assert.equal(made, false);
  await name(second);
  await (await next).createRouter();
  const { virtualWorkers } = await second.status();
  assert.equal(virtualWorkers.length, 1);
});

test('a worker whose pod is gone is given up when the file names another', async (t) => {
  const { first, second, name, env } = await start(t);
  const worker = await createWorker(t, '', {}, { env });
  await ask(second, 'PUT', { generation: 2 });
  await name(second);
  await worker.createRouter();
  const died = event(worker, 'died', { within: 10_000 });
  first.program.kill('SIGKILL');
  // Sooner than the grace time of 30 s, in which the first might come back.
  await died;
  await (await createWorker(t, '', {}, { env })).createRouter();
});
