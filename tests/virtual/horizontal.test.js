// One worker over several pods: run by the relay when MAFALDA_URL names them, or by a pod whose peers
// lend it workers.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { flowThrough } from '../lib/flow.js';
import { startVirtualPod } from '../lib/pod.js';
import { startRaw } from '../lib/raw-connection.js';
import { Event, Method, answerTo, notification, request } from '../lib/requests.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { event, until } from '../lib/until.js';
import { topologyOf } from '../lib/virtual.js';

/** What an application on several pods is set to. */
const spread = { MAFALDA_PLACEMENT: 'spread' };

/** @param {import('../lib/pod.js').Pod[]} pods  what MAFALDA_URL is for all of them */
const urlOf = (pods) => pods.map((pod) => pod.webSocketUrl).join();

/**
 * How many transports lie on a pod's workers, pipes included.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function carried(pod) {
  const { workers } = await pod.status();
  return workers.reduce((sum, { carries }) => sum + carries.transports, 0);
}

/**
 * Two pods, and a router of an application that has both.
 * @param {test.TestContext} t
 */
async function startTwo(t) {
  const pods = [await startVirtualPod(t), await startVirtualPod(t)];
  const worker = await createWorker(t, urlOf(pods), {}, { env: spread });
  const router = await worker.createRouter({ mediaCodecs });
  return { pods, worker, router };
}

/**
 * A call from one pod to the other that is checked for losses.
 * @param {test.TestContext} t
 * @param {import('mediasoup').types.Router} router
 */
async function startCall(t, router) {
  const call = await flowThrough(t, router, { ssrc: 1111, rtpParameters: opus(1111), interval: 5 });
  await until('media flows', async () => (await call.flow.report()).received > 20);
  return {
    ...call,
    async goesOn() {
      const { sent } = await call.flow.report();
      await until('its media goes on', async () => (await call.flow.report()).received > sent + 40);
      const { lost, doubled, disordered } = await call.flow.report();
      assert.deepEqual({ lost, doubled, disordered }, { lost: [], doubled: 0, disordered: 0 });
    },
  };
}

/**
 * @param {import('../lib/pod.js').Pod} pod
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 */
async function ask(pod, method, path, body) {
  const response = await fetch(pod.url + path, { method, body: body && JSON.stringify(body) });
  return { status: response.status, body: await response.json() };
}

/**
 * Lets a peer lend its workers to a pod; returns when the two are connected.
 * @param {import('../lib/pod.js').Pod} home
 * @param {{ name: string, url: string, zone?: string }} peer
 */
async function lendTo(home, peer) {
  assert.equal((await ask(home, 'PUT', '/v1/peers', { pods: [peer] })).status, 200);
  await until('it is connected', async () => {
    const { body } = await ask(home, 'GET', '/v1/peers');
    return body.pods[0].connected;
  });
}

// Protects applications that outgrew a host: one worker, all pods' cores.
test('an application has the workers of two pods as one', async (t) => {
  const { pods, worker, router } = await startTwo(t);
  const call = await startCall(t, router);
  await call.goesOn();
  // A transport of the call and an end of the pipe between them.
  for (const pod of pods) assert.equal(await carried(pod), 2);
  const { transportIds } = /** @type {any} */ (await router.dump());
  assert.deepEqual(transportIds.sort(), [call.inward.id, call.outward.id].sort());
  worker.close();
  for (const pod of pods) {
    await until('nothing is left', async () => (await carried(pod)) === 0);
    const { connections } = await pod.status();
    assert.equal(connections.attached + connections.detached, 0);
  }
});

// Protects whoever is not on the pod that dies, and tells those who are.
test('a pod is killed: what was on it ends, the rest loses no packet', async (t) => {
  const { pods, worker, router } = await startTwo(t);
  const [survivor, victim] = pods;
  /** @type {unknown[]} */
  const died = [];
  worker.on('died', (error) => died.push(error));
  // One that is cordoned takes nothing new: the call is on the other alone.
  await ask(victim, 'PUT', '/v1/drain', { phase: 'cordoned' });
  await takesNothing(victim, router);
  const call = await startCall(t, router);
  assert.deepEqual([await carried(survivor), await carried(victim)], [2, 0]);
  await ask(victim, 'DELETE', '/v1/drain');
  const doomed = await until('something is on the victim', async () => {
    const transport = await router.createDirectTransport();
    return (await carried(victim)) === 1 && transport;
  });

  victim.program.kill('SIGKILL');
  const start = performance.now();
  await until('what was there is closed', async () => {
    const { transportIds } = /** @type {any} */ (await router.dump());
    return !transportIds.includes(doomed.id);
  });
  t.diagnostic(`noticed within ${Math.round(performance.now() - start)} ms`);
  await call.goesOn();
  assert.deepEqual(died, []);
});

/**
 * Waits until a cordoned pod's borrower puts nothing new on it.
 * @param {import('../lib/pod.js').Pod} pod
 * @param {import('mediasoup').types.Router} router
 */
async function takesNothing(pod, router) {
  const before = await carried(pod);
  await until('its borrower knows', async () => {
    const transports = [await router.createDirectTransport(), await router.createDirectTransport()];
    const now = await carried(pod);
    for (const transport of transports) transport.close();
    return now === before;
  });
}

// Protects applications from a worker that is nowhere any more.
test('all pods are gone: the worker dies', async (t) => {
  const { pods, worker } = await startTwo(t);
  const died = event(worker, 'died');
  for (const pod of pods) pod.program.kill('SIGKILL');
  const [error] = await died;
  assert.match(error.message, /code:50/);
});

// Protects calls on a pod that is taken out of service.
test('a pod that is drained takes nothing new, keeps what runs, and is let go of', async (t) => {
  const { pods, router } = await startTwo(t);
  const call = await startCall(t, router);
  await ask(pods[0], 'PUT', '/v1/drain', { phase: 'cordoned' });
  await takesNothing(pods[0], router);
  await call.goesOn();
  call.flow.stop();
  for (const transport of [call.inward, call.outward]) transport.close();
  await until('it is let go of', async () => {
    const { connections } = await pods[0].status();
    return connections.attached === 0;
  });
  await ask(pods[0], 'DELETE', '/v1/drain');
  await until('it lends again', async () => {
    const { connections } = await pods[0].status();
    return connections.attached === 1;
  });
});

// Protects sessions that outgrow their pod: its peers' workers are members like its own.
test('a pod borrows the workers of its peers, and gives them back', async (t) => {
  const args = ['--placement', 'spread'];
  const home = await startVirtualPod(t, { args: [...args, '--pod-name', 'home'] });
  const peer = await startVirtualPod(t, { args: [...args, '--pod-name', 'peer'] });
  await lendTo(home, { name: 'peer', url: peer.webSocketUrl, zone: 'z1' });

  const worker = await createWorker(t, home);
  const router = await worker.createRouter({ mediaCodecs });
  const call = await startCall(t, router);
  await call.goesOn();
  assert.equal(await carried(peer), 2, 'one end of the call and of the pipe');
  const { virtualWorkers } = await topologyOf(home);
  const places = /** @type {any} */ (virtualWorkers[0]).members.map(({ pod, zone }) => ({
    pod,
    zone,
  }));
  assert.deepEqual(places, [
    { pod: 'home', zone: undefined },
    { pod: 'peer', zone: 'z1' },
  ]);

  // What runs there may finish.
  await ask(home, 'PUT', '/v1/peers', { pods: [] });
  const transports = [await router.createDirectTransport(), await router.createDirectTransport()];
  assert.equal(await carried(peer), 2, 'nothing new');
  await call.goesOn();
  call.flow.stop();
  for (const transport of [call.inward, call.outward, ...transports]) transport.close();
  await until('it is given back', async () => {
    const { connections } = await peer.status();
    return connections.attached === 0;
  });
});

/**
 * How many connections lead to a pod, by sockets that are open or are waited for.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function connectionsTo(pod) {
  const { attached, detached } = (await pod.status()).connections;
  return attached + detached;
}

/**
 * Waits until something new is placed on a pod.
 * @param {import('../lib/pod.js').Pod} pod
 * @param {import('mediasoup').types.Router} router
 */
async function placedOn(pod, router) {
  const before = await carried(pod);
  return until('something new is there', async () => {
    const transport = await router.createDirectTransport();
    return (await carried(pod)) > before && transport;
  });
}

// Protects what is on a lender from those who speak of it: an operator that was restarted shows another
// token, a drain is taken back, a line of a file comes back.
test('a peer that is lent again, or with another token, keeps its one connection', async (t) => {
  const args = ['--placement', 'spread'];
  const home = await startVirtualPod(t, { args: [...args, '--pod-name', 'home'] });
  const pod = await startVirtualPod(t, { args: [...args, '--pod-name', 'peer'] });
  const peer = { name: 'peer', url: pod.webSocketUrl };
  await lendTo(home, peer);
  const worker = await createWorker(t, home);
  /** @type {unknown[]} */
  const died = [];
  worker.on('died', (error) => died.push(error));
  const router = await worker.createRouter({ mediaCodecs });
  const call = await startCall(t, router);
  for (const grant of [
    { pods: [peer], token: 'another' },
    { pods: [{ ...peer, zone: 'z1' }], token: 'another' },
    { pods: [] },
    { pods: [{ ...peer, zone: 'z1' }], token: 'a third' },
    { pods: [] },
    { pods: [peer] },
  ]) {
    assert.equal((await ask(home, 'PUT', '/v1/peers', grant)).status, 200);
    if (grant.pods.length === 0) await takesNothing(pod, router);
    else await placedOn(pod, router);
    await call.goesOn();
    assert.equal(await connectionsTo(pod), 1, JSON.stringify(grant));
  }
  assert.equal(home.logs.match(/borrowing its workers/g)?.length, 1, home.logs);
  assert.deepEqual(died, []);
});

// Protects who pays for what goes from pod to pod: the sums are there, and the counter counts on when
// pipes go.
test('what crosses between pods is shown and counted', async (t) => {
  const home = await startVirtualPod(t, {
    args: ['--placement', 'spread', '--pod-name', 'home', '--pipe-idle', '0'],
    workers: 2,
  });
  const peer = await startVirtualPod(t);
  await lendTo(home, { name: 'peer', url: peer.webSocketUrl });
  const worker = await createWorker(t, home);
  const router = await worker.createRouter({ mediaCodecs });
  const call = await startCall(t, router);
  const consumers = [];
  for (let i = 0; i < 3; i++) {
    const transport = await router.createDirectTransport();
    const { rtpCapabilities } = router;
    consumers.push(await transport.consume({ producerId: call.producer.id, rtpCapabilities }));
  }
  /** @param {string} name */
  const metric = async (name) => {
    const lines = (await home.metrics()).split('\n').filter((line) => line.startsWith(name));
    return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
  };
  const between = await until('it is measured', async () => {
    const { betweenPods } = await topologyOf(home);
    assert.ok(betweenPods[0]?.bytes > 0);
    return betweenPods;
  });
  assert.equal(between.length, 1, 'in one direction');
  const [{ sourcePod, targetPod, pipes, producers }] = between;
  assert.deepEqual([sourcePod, targetPod].sort(), ['home', 'peer']);
  assert.deepEqual({ pipes, producers }, { pipes: 1, producers: 1 });
  const way = `mafalda_pipe_bytes_total{source_pod="${sourcePod}",target_pod="${targetPod}"}`;
  const counted = await until('it is counted', () => metric(way));
  assert.equal(await metric('mafalda_lenders'), 1);
  assert.equal(await metric('mafalda_borrowed_members'), 1);
  assert.match(await peer.metrics(), /^mafalda_lent_members 1$/m);
  await until('it goes on without being asked for', async () => (await metric(way)) > counted);
  const atTheEnd = await metric(way);
  for (const consumer of [...consumers, call.consumer]) consumer.close();
  await until('the pipes are gone', async () => {
    const { betweenPods } = await topologyOf(home);
    return betweenPods.length === 0;
  });
  assert.ok((await metric(way)) >= atTheEnd);
});

// Protects lenders from a connection for each application of a pod.
test('applications of a pod share its one connection to a peer', async (t) => {
  const args = ['--placement', 'spread'];
  const home = await startVirtualPod(t, { args: [...args, '--pod-name', 'home'] });
  const peer = await startVirtualPod(t);
  await lendTo(home, { name: 'peer', url: peer.webSocketUrl });
  const calls = [];
  for (let i = 0; i < 3; i++) {
    const worker = await createWorker(t, home);
    calls.push(await startCall(t, await worker.createRouter({ mediaCodecs })));
  }
  for (const call of calls) await call.goesOn();
  assert.equal(await carried(peer), 6, 'of each call one end, and one of its pipe');
  assert.equal(await connectionsTo(peer), 1);
});

// Protects media that leaves a cluster: nobody has to think of it.
test('what goes from cluster to cluster is encrypted, and a lender says where it is', async (t) => {
  const args = ['--placement', 'spread', '--pod-name', 'home', '--cluster', 'here'];
  const home = await startVirtualPod(t, { args });
  const there = ['--cluster', 'there', '--region', 'north', '--zone', 'z9'];
  const peer = await startVirtualPod(t, { args: there });
  await lendTo(home, { name: 'peer', url: peer.webSocketUrl });
  const worker = await createWorker(t, home);
  const call = await startCall(t, await worker.createRouter({ mediaCodecs }));
  await call.goesOn();
  const { virtualWorkers } = await topologyOf(home);
  const { members, pipes } = /** @type {any} */ (virtualWorkers[0]);
  assert.equal(members.find(({ pod }) => pod === 'peer').zone, 'z9');
  assert.deepEqual(
    pipes.map(({ sourcePod, targetPod, srtp }) => [sourcePod, targetPod, srtp].join()),
    [pipes[0].sourcePod === 'home' ? 'home,peer,true' : 'peer,home,true'],
  );
});

// Protects the choice of ways: on Kubernetes a pod cannot know by itself where it is.
test('a pod learns where it is with its first session, and keeps it', async (t) => {
  const home = await startVirtualPod(t);
  for (const [generation, zone] of [
    [1, 'z1'],
    [2, 'z2'],
  ]) {
    const told = { generation, region: 'north', zone };
    assert.ok((await ask(home, 'PUT', '/v1/sessions/stage', told)).status < 300);
  }
  await createWorker(t, `${home.webSocketUrl}/v1/sessions/stage`);
  const { virtualWorkers } = await topologyOf(home);
  const [member] = /** @type {any[]} */ (virtualWorkers[0].members);
  assert.equal(member.zone, 'z1');
  const { pod } = /** @type {any} */ (await home.status());
  assert.deepEqual([pod.region, pod.zone], ['north', 'z1']);
});

// Protects media on a network that is not trusted, and hosts from encryption that nobody needs.
test('pipes are encrypted, and repeat what is lost, between pods alone', async (t) => {
  const protect = ['--pipe-srtp', 'pods', '--pipe-rtx', 'pods'];
  const args = ['--placement', 'spread', '--pod-name', 'home', ...protect];
  const home = await startVirtualPod(t, { args, workers: 2 });
  const peer = await startVirtualPod(t);
  await lendTo(home, { name: 'peer', url: peer.webSocketUrl });
  const worker = await createWorker(t, home);
  const router = await worker.createRouter({ mediaCodecs });
  // One on each worker, which hears those on all others.
  const transports = [];
  for (let i = 0; i < 3; i++) transports.push(await router.createDirectTransport());
  const { rtpCapabilities } = router;
  for (const [i, transport] of transports.entries()) {
    const producer = await transport.produce({ kind: 'audio', rtpParameters: opus(1000 + i) });
    for (const other of transports) {
      await other.consume({ producerId: producer.id, rtpCapabilities });
    }
  }
  const call = await startCall(t, router);
  await call.goesOn();
  const { virtualWorkers } = await topologyOf(home);
  const pipes = /** @type {any[]} */ (virtualWorkers[0].pipes);
  for (const { sourcePod, targetPod, srtp, rtx } of pipes) {
    const crosses = sourcePod !== targetPod;
    assert.deepEqual({ srtp, rtx }, { srtp: crosses, rtx: crosses });
  }
  assert.equal(new Set(pipes.map(({ srtp }) => srtp)).size, 2, 'there are pipes of both kinds');
});

// Protects who sets the same for an application's own worker over several pods.
test('an application that names several pods says how its pipes are', async (t) => {
  const pods = [await startVirtualPod(t), await startVirtualPod(t)];
  const env = { ...spread, MAFALDA_PIPE_SRTP: 'pods', MAFALDA_PIPE_RTX: 'on' };
  const worker = await createWorker(t, urlOf(pods), {}, { env });
  const call = await startCall(t, await worker.createRouter({ mediaCodecs }));
  await call.goesOn();
  for (const variable of ['MAFALDA_PIPE_SRTP', 'MAFALDA_PIPE_RTX']) {
    const env = { [variable]: 'yes' };
    await assert.rejects(createWorker(t, urlOf(pods), {}, { env }));
  }
});

// Protects a pod from peers that are none.
test('peers that cannot be are refused by name', async (t) => {
  const pod = await startVirtualPod(t);
  for (const [pods, said] of [
    [[{ name: '', url: 'ws://a:1' }], /pods\[0\]\.name/],
    [[{ name: 'a', url: 'http://a:1' }], /pods\[0\]\.url: .*ws/],
    [[{ name: 'a' }], /url/],
  ]) {
    const { status, body } = await ask(pod, 'PUT', '/v1/peers', { pods });
    assert.equal(status, 400);
    assert.match(body.error.message, /** @type {RegExp} */ (said));
  }
});

/**
 * A borrower by hand, with one member.
 * @param {test.TestContext} t
 * @param {import('../lib/pod.js').Pod} pod
 */
async function borrow(t, pod) {
  const raw = await startRaw(t, pod, { path: '/v1/members' });
  const { added } = await until('a member is lent', () => raw.notes.find((note) => note.added));
  raw.note({ member: added.member });
  let id = 0;
  return Object.assign(raw, {
    /** Whether a request is accepted; one that makes something does so by the id `made`. */
    ask(/** @type {number} */ method, handler = '', /** @type {string=} */ made) {
      const asked = ++id;
      raw.socket.send(request(asked, method, handler, made));
      return until('the answer', () => {
        const found = raw.frames.map((frame) => answerTo(frame, asked));
        const answer = found.find((accepted) => accepted !== undefined);
        return answer !== undefined && { accepted: answer };
      });
    },
  });
}

// Protects applications from others that borrow the same workers.
test('a borrower reaches nothing that is not its own', async (t) => {
  const pod = await startVirtualPod(t);
  const worker = await createWorker(t, pod);
  const router = await worker.createRouter({ mediaCodecs });
  await router.createDirectTransport();
  const { virtualWorkers } = await topologyOf(pod);
  const raw = await borrow(t, pod);
  assert.deepEqual(await raw.ask(Method.WORKER_DUMP, ''), { accepted: true });
  assert.deepEqual(await raw.ask(Method.ROUTER_DUMP, router.id), { accepted: false });
  const made = '00000000-0000-4000-8000-000000000001';
  assert.deepEqual(await raw.ask(Method.WORKER_CREATE_ROUTER, ''), { accepted: false });
  raw.note({ owns: made });
  assert.deepEqual(await raw.ask(Method.WORKER_CREATE_ROUTER, ''), { accepted: true });
  assert.deepEqual(await raw.ask(Method.ROUTER_DUMP, made), { accepted: true });
  // The worker is everybody's, whatever handler the event that ends it names.
  raw.socket.send(notification(Event.WORKER_CLOSE, made));
  assert.deepEqual(await raw.ask(Method.ROUTER_DUMP, made), { accepted: true });
  // A worker may die of an id that it has already, or that another's application will want.
  const [second, observer] = [made.replace(/1$/, '2'), made.replace(/1$/, '3')];
  const observe = Method.ROUTER_CREATE_ACTIVESPEAKEROBSERVER;
  assert.deepEqual(await raw.ask(observe, made, observer), { accepted: false });
  raw.note({ owns: observer });
  assert.deepEqual(await raw.ask(observe, made, observer), { accepted: true });
  raw.note({ owns: second });
  assert.deepEqual(await raw.ask(Method.WORKER_CREATE_ROUTER, '', second), { accepted: true });
  assert.deepEqual(await raw.ask(observe, second, observer), { accepted: false });
  // It goes with its borrower.
  await raw.giveUp();
  await until('its router is closed', async () => {
    const { workers } = await pod.status();
    return workers[0].carries.routers === 1;
  });

  for (const nonsense of [
    { attach: virtualWorkers[0].id },
    // As the pod will call its next ones.
    { attach: virtualWorkers[0].id + 1000 },
    { owns: 'x'.repeat(1000) },
    { load: [] },
    { unknown: 1 },
    'x',
  ]) {
    const other = await borrow(t, pod);
    other.note(nonsense);
    await other.isClosed();
  }
  await router.createDirectTransport();
});
