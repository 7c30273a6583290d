// The relay stands for the worker: settings, certificates, logs, signals, ends and exit
// codes are what mediasoup expects of its own worker.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { createWorker, mediasoup } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';
import { event, until } from '../lib/until.js';

test('createWorker, use and close; the pod has it back', async (t) => {
  const pod = await startPod(t, { workers: 1 });
  const worker = await createWorker(t, pod);
  const busy = await pod.entryOf(worker);
  assert.equal(busy.state, 'busy');
  assert.notEqual(busy.pid, worker.pid);
  assert.equal((await worker.dump()).pid, worker.pid);
  assert.ok(isAlive(busy.pid));

  const gone = event(worker, 'subprocessclose');
  worker.close();
  await gone;
  assert.equal(worker.died, false);
  await until('its process is gone', () => !isAlive(busy.pid));
  await until('a fresh one waits', async () => {
    const { workers, connections } = await pod.status();
    return connections.attached === 0 && workers.some(({ state }) => state === 'idle');
  });
});

test('what a worker carries is in /v1/status', async (t) => {
  const pod = await startPod(t);
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({
    mediaCodecs: [{ kind: 'audio', mimeType: 'audio/opus', clockRate: 48000, channels: 2 }],
  });
  const direct = await router.createDirectTransport();
  const producer = await direct.produce({
    kind: 'audio',
    rtpParameters: {
      codecs: [{ mimeType: 'audio/opus', payloadType: 100, clockRate: 48000, channels: 2 }],
      encodings: [{ ssrc: 1 }],
    },
  });
  await direct.consume({ producerId: producer.id, rtpCapabilities: router.rtpCapabilities });
  const dataProducer = await direct.produceData({});
  await direct.consumeData({ dataProducerId: dataProducer.id });
  await router.createAudioLevelObserver();
  const carries = async () => (await pod.entryOf(worker)).carries;
  await until('all of it is counted', async () => {
    const count = await carries();
    return count.routers === 1 && count.transports === 1 && count.rtpObservers === 1;
  });
  assert.deepEqual(await carries(), {
    routers: 1,
    webRtcServers: 0,
    transports: 1,
    producers: 1,
    consumers: 1,
    dataProducers: 1,
    dataConsumers: 1,
    rtpObservers: 1,
  });
  producer.close();
  await until('its consumer is no longer counted', async () => {
    const { producers, consumers } = await carries();
    return producers === 0 && consumers === 0;
  });
  router.close();
  await until('nothing is left', async () => Object.values(await carries()).every((n) => n === 0));
});

test('more workers than are warm are started when asked for, up to the limit', async (t) => {
  const pod = await startPod(t, { workers: 1, args: ['--max-workers', '3'] });
  const workers = await Promise.all([1, 2, 3].map(() => createWorker(t, pod)));
  assert.equal(new Set(workers.map(({ pid }) => pid)).size, 3);
  await assert.rejects(createWorker(t, pod), /code:50/);
  workers[0].close();
  await until('there is room again', () => createWorker(t, pod));
});

for (const { name, settings } of [
  { name: 'log level', settings: { logLevel: 'chicken' } },
  { name: 'port order', settings: { rtcMinPort: 1000, rtcMaxPort: 999 } },
  { name: 'port over 65535', settings: { rtcMinPort: 1000, rtcMaxPort: 65536 } },
  { name: 'no such certificate', settings: { dtlsCertificateFile: '/notfound/cert.pem' } },
  { name: 'no such key', settings: { dtlsPrivateKeyFile: '/notfound/priv.pem' } },
]) {
  test(`wrong settings reject as upstream: ${name}`, async (t) => {
    const pod = await startPod(t);
    const rejection = { name: 'TypeError', message: 'wrong settings' };
    await assert.rejects(createWorker(t, pod, /** @type {any} */ (settings)), rejection);
    // The pod has lost nothing by it.
    await createWorker(t, pod);
  });
}

test('files that are no certificate reject too', async (t) => {
  const pod = await startPod(t);
  const file = new URL(import.meta.url).pathname;
  await assert.rejects(
    createWorker(t, pod, { dtlsCertificateFile: file, dtlsPrivateKeyFile: file }),
  );
  await createWorker(t, pod);
});

test("the worker's log arrives, at the level and of the tags asked for", async (t) => {
  const pod = await startPod(t);
  const logOf = async (/** @type {object} */ settings) => {
    const application = start(t, process.execPath, ['--input-type=module', '--eval', LOGGING], {
      cwd: import.meta.dirname,
      env: {
        MAFALDA_URL: pod.webSocketUrl,
        MEDIASOUP_WORKER_BIN: program('mafalda-worker'),
        DEBUG: 'mediasoup:*',
        SETTINGS: JSON.stringify(settings),
      },
    });
    const { code } = await application.ended;
    assert.equal(code, 0, application.output);
    // The library says so of every line that came from the worker.
    return application.output.match(/ \[pid:\d+\] \S+::.*$/gm) ?? [];
  };
  const much = (await logOf({ logLevel: 'debug', logTags: ['info', 'ice'] })).join('\n');
  assert.match(much, /logLevel: debug/);
  assert.match(much, /logTags: info,ice/);
  assert.match(much, /libuv version/, 'of the tag "info"');
  assert.deepEqual(await logOf({ logLevel: 'error' }), []);
});

const LOGGING = `
  import * as mediasoup from 'mediasoup';
  const worker = await mediasoup.createWorker(JSON.parse(process.env.SETTINGS));
  await worker.createRouter();
  await worker.dump();
  worker.close();
`;

test('the application is killed: no worker stays behind', async (t) => {
  const pod = await startPod(t, { workers: 1 });
  const application = start(
    t,
    process.execPath,
    [
      '--input-type=module',
      '--eval',
      `import * as mediasoup from 'mediasoup';
       const worker = await mediasoup.createWorker();
       await worker.createRouter();
       console.log('relay', worker.pid);
       setInterval(() => {}, 1000);`,
    ],
    {
      cwd: import.meta.dirname,
      env: { MAFALDA_URL: pod.webSocketUrl, MEDIASOUP_WORKER_BIN: program('mafalda-worker') },
    },
  );
  const relay = Number((await application.says(/relay (\d+)/))[1]);
  const { pid } = await pod.entryOf({ pid: relay });
  assert.ok(isAlive(pid));
  application.kill('SIGKILL');
  await until('the relay is gone', () => !isAlive(relay), { within: 5_000 });
  await until('the worker is gone', () => !isAlive(pid), { within: 5_000 });
  await until('no connection is held for it', async () => {
    const { connections } = await pod.status();
    return connections.attached === 0 && connections.detached === 0;
  });
});

test('no pod, or no such host: createWorker rejects, and the relay says why', async (t) => {
  const pod = await startPod(t);
  const { webSocketUrl } = pod;
  await pod.stop();
  await assert.rejects(createWorker(t, webSocketUrl), /code:50/);
  const check = start(t, program('mafalda-worker'), ['--check'], {
    env: { MAFALDA_URL: webSocketUrl },
  });
  const { code } = await check.ended;
  assert.equal(code, 50);
  assert.match(check.output, /refused/i);
  await assert.rejects(createWorker(t, 'ws://pod.invalid:4400'), /code:50/);
  await assert.rejects(createWorker(t, 'ftp://127.0.0.1'), /code:50/);
});

test('mafalda-worker --check is content with a good pod', async (t) => {
  const pod = await startPod(t);
  const check = start(t, program('mafalda-worker'), ['--check'], {
    env: { MAFALDA_URL: pod.webSocketUrl },
  });
  const { code } = await check.ended;
  assert.equal(code, 0, check.output);
  assert.match(check.output, new RegExp(mediasoup.version.replaceAll('.', '\\.')));
});

test('signals that a worker ignores are ignored, those that end it end it', async (t) => {
  const pod = await startPod(t);
  const worker = await createWorker(t, pod);
  for (const signal of /** @type {const} */ ([
    'SIGPIPE',
    'SIGHUP',
    'SIGALRM',
    'SIGUSR1',
    'SIGUSR2',
  ])) {
    process.kill(worker.pid, signal);
  }
  await worker.dump();
  assert.equal(worker.died, false);
  const died = event(worker, 'died');
  process.kill(worker.pid, 'SIGTERM');
  await died;
});

test('SIGTERM: no new workers, the running ones go on until the deadline, an orderly end', async (t) => {
  const pod = await startPod(t, { workers: 2, args: ['--stop-after', '3'] });
  const worker = await createWorker(t, pod);
  const { workers } = await pod.status();
  const died = event(worker, 'died');
  pod.kill('SIGTERM');
  await until('the pod drains', async () => (await pod.status()).draining);
  assert.equal((await pod.get('/readyz')).status, 503);
  assert.equal((await pod.get('/livez')).status, 200);
  await assert.rejects(createWorker(t, pod), /code:50/);
  await worker.createRouter();
  await died;
  assert.deepEqual(await pod.program.ended, { code: 0, signal: null });
  for (const { pid } of workers) assert.equal(isAlive(pid), false);
});

test('SIGTERM: the end comes as soon as nothing is left', async (t) => {
  const pod = await startPod(t, { args: ['--stop-after', '600'] });
  const worker = await createWorker(t, pod);
  pod.kill('SIGTERM');
  await until('the pod drains', async () => (await pod.status()).draining);
  worker.close();
  assert.deepEqual(await pod.program.ended, { code: 0, signal: null });
});

/** @param {number} pid  whether a process of that id runs (a zombie does not) */
function isAlive(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}
