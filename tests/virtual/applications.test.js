// Several applications on one pod: the same workers carry them, and none knows of another.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { makeCertificate } from '../lib/certificate.js';
import { flowThrough } from '../lib/flow.js';
import { startVirtualPod } from '../lib/pod.js';
import { program } from '../lib/programs.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { temporaryDirectory } from '../lib/temporary.js';
import { event, until } from '../lib/until.js';
import { membersOf, startSpreadPod, topologyOf } from '../lib/virtual.js';

const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];

/**
 * An application with a call through its router.
 * @param {test.TestContext} t
 * @param {import('../lib/pod.js').Pod} pod
 * @param {number} ssrc
 */
async function application(t, pod, ssrc) {
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({ mediaCodecs });
  const call = await flowThrough(t, router, { ssrc, rtpParameters: opus(ssrc), interval: 5 });
  await until('media flows', async () => (await call.flow.report()).received > 20);
  return { worker, router, call };
}

// Protects tenants from each other.
test('two applications on one pod see their own alone', async (t) => {
  const pod = await startSpreadPod(t, { workers: 2 });
  const [one, two] = [await application(t, pod, 1001), await application(t, pod, 1002)];
  for (const { worker, router, call } of [one, two]) {
    const dump = await worker.dump();
    assert.deepEqual(dump.routerIds, [router.id]);
    assert.deepEqual(dump.webRtcServerIds, []);
    assert.deepEqual(
      [...dump.channelMessageHandlers.channelRequestHandlers].sort(),
      [router.id, call.inward.id, call.outward.id, call.producer.id, call.consumer.id].sort(),
    );
    const { transportIds } = await router.dump();
    assert.deepEqual([...transportIds].sort(), [call.inward.id, call.outward.id].sort());
    assert.ok((await worker.getResourceUsage()).ru_maxrss > 0);
  }
  const { members, virtualWorkers } = await topologyOf(pod);
  assert.equal(virtualWorkers.length, 2);
  assert.equal(members.length, 2, 'on the same two workers');
  const { virtualWorkers: status, workers } = await pod.status();
  assert.deepEqual(
    status.map(({ connection }) => connection.applicationPid).sort(),
    [one.worker.pid, two.worker.pid].sort(),
  );
  assert.ok(workers.every(({ state }) => state === 'member'));
});

for (const { name, end } of [
  { name: 'closes', end: (worker) => worker.close() },
  { name: 'is killed', end: (worker) => process.kill(worker.pid, 'SIGKILL') },
]) {
  // Protects an application from the end of another on the same workers.
  test(`an application ${name}: the other's media loses no packet, nothing stays behind`, async (t) => {
    const pod = await startSpreadPod(t, { workers: 2, args: ['--grace', '1', '--pipe-idle', '1'] });
    const [one, two] = [await application(t, pod, 1001), await application(t, pod, 1002)];
    end(one.worker);
    await until('it is gone', async () => {
      const { virtualWorkers } = await topologyOf(pod);
      return virtualWorkers.length === 1 && virtualWorkers[0].routers[0].id === two.router.id;
    });
    // Its routers and transports are closed on the workers, too.
    await until('the workers carry the other alone', async () => {
      const { workers } = await pod.status();
      const total = (/** @type {string} */ what) =>
        workers.reduce((sum, { carries }) => sum + carries[what], 0);
      // Two real routers, the two ends of a call and of a pipe.
      return total('routers') === 2 && total('transports') === 4;
    });
    const { sent } = await two.call.flow.report();
    await until('media goes on', async () => (await two.call.flow.report()).received > sent + 40);
    const { lost, doubled } = await two.call.flow.report();
    assert.deepEqual({ lost, doubled }, { lost: [], doubled: 0 });
    assert.deepEqual((await two.worker.dump()).routerIds, [two.router.id]);
  });
}

// Protects settings: who has his own gets workers of his own, with his certificate on all.
test("an application's certificate is that of all its members, and of nobody else's", async (t) => {
  const pod = await startSpreadPod(t, { workers: 2 });
  const { certificate, key, fingerprint } = await makeCertificate(await temporaryDirectory(t));
  const files = { dtlsCertificateFile: certificate, dtlsPrivateKeyFile: key };
  const [own, other] = [await createWorker(t, pod, files), await createWorker(t, pod)];
  const fingerprints = async (/** @type {import('mediasoup').types.Worker} */ worker) => {
    const router = await worker.createRouter({ mediaCodecs });
    const transports = [];
    for (let i = 0; i < 3; i++)
      transports.push(await router.createWebRtcTransport({ listenInfos }));
    const members = await membersOf(pod, ...transports);
    const values = transports.map(
      ({ dtlsParameters }) =>
        dtlsParameters.fingerprints.find(({ algorithm }) => algorithm === 'sha-256')?.value,
    );
    return { members, values };
  };
  const [first, second] = [await fingerprints(own), await fingerprints(other)];
  assert.deepEqual([...new Set(first.values)], [fingerprint]);
  assert.equal(second.values.includes(fingerprint), false);
  assert.equal(
    new Set([...first.members, ...second.members]).size > new Set(second.members).size,
    true,
  );
  assert.deepEqual(
    first.members.filter((member) => second.members.includes(member)),
    [],
    'no member carries both',
  );
});

// Protects logs: what one application asks to be logged does not go into another's.
test('an application that asks for debug logs has workers of its own', async (t) => {
  const pod = await startSpreadPod(t, { workers: 2 });
  const [loud, quiet] = [
    await createWorker(t, pod, { logLevel: 'debug', logTags: ['info', 'ice', 'dtls'] }),
    await createWorker(t, pod, { logLevel: 'error' }),
  ];
  const membersUsed = async (/** @type {import('mediasoup').types.Worker} */ worker) => {
    const router = await worker.createRouter({ mediaCodecs });
    const transport = await router.createWebRtcTransport({ listenInfos });
    return membersOf(pod, transport);
  };
  const [[one], [two]] = [await membersUsed(loud), await membersUsed(quiet)];
  assert.notEqual(one, two);
});

// Protects an application's error handling: a wrong setting fails as it does on one host.
test('wrong settings are refused as mediasoup refuses them', async (t) => {
  const pod = await startSpreadPod(t, { workers: 1 });
  for (const settings of [
    { logLevel: /** @type {any} */ ('chicken') },
    { dtlsCertificateFile: '/notfound/cert.pem', dtlsPrivateKeyFile: '/notfound/key.pem' },
    { dtlsCertificateFile: '/notfound/cert.pem' },
    { rtcMinPort: 1000, rtcMaxPort: 999 },
  ]) {
    const what = JSON.stringify(settings);
    const [here, there] = await Promise.all(
      [{ workerBin: program('mafalda-media-worker') }, {}].map(async (more) =>
        createWorker(t, pod, { ...settings, ...more }).then(
          () => 'taken',
          (/** @type {Error} */ error) => ({ name: error.name, message: error.message }),
        ),
      ),
    );
    assert.notEqual(here, 'taken', what);
    assert.deepEqual(there, here, what);
  }
  // The pod is none the worse for it.
  const worker = await createWorker(t, pod);
  await worker.createRouter({ mediaCodecs });
});

for (const { byDefault, args } of [
  { byDefault: 'virtual', args: [] },
  { byDefault: 'virtual', args: ['--virtual', 'on'] },
  { byDefault: 'real', args: ['--virtual', 'off'] },
]) {
  // Protects the choice: the pod's operator has a default, the application may say otherwise.
  test(`who asks for which kind gets it, else ${byDefault} (${args.join(' ') || 'no option'})`, async (t) => {
    const pod = await startVirtualPod(t, { workers: 2, args });
    const kindOf = async (/** @type {import('mediasoup').types.Worker} */ { pid }) => {
      const { workers, virtualWorkers } = await pod.status();
      const has = (/** @type {any[]} */ list) =>
        list.some(({ connection }) => connection?.applicationPid === pid);
      return has(virtualWorkers) ? 'virtual' : has(workers) ? 'real' : undefined;
    };
    // This test says it by itself.
    const unset = { MAFALDA_MODE: '' };
    for (const { kind, url, env } of [
      { kind: byDefault, url: pod.webSocketUrl, env: unset },
      { kind: byDefault, url: `${pod.webSocketUrl}/v1/worker`, env: unset },
      ...['virtual', 'real'].flatMap((kind) => [
        { kind, url: pod.webSocketUrl, env: { MAFALDA_MODE: kind } },
        { kind, url: `${pod.webSocketUrl}/v1/worker/${kind}`, env: unset },
      ]),
    ]) {
      const worker = await createWorker(t, url, {}, { env });
      assert.equal(await kindOf(worker), kind, `${url} ${JSON.stringify(env)}`);
      const router = await worker.createRouter({ mediaCodecs });
      await router.createDirectTransport();
      const gone = event(worker, 'subprocessclose');
      worker.close();
      await gone;
    }
    await assert.rejects(createWorker(t, pod, {}, { env: { MAFALDA_MODE: 'imaginary' } }));
  });
}
