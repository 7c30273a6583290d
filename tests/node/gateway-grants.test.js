// Sessions behind a gateway without Kubernetes that outgrow their home, shrink again, or lose it.
import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import test from 'node:test';
import { asFromAnotherHost, createWorker } from '../lib/application.js';
import { flowThrough } from '../lib/flow.js';
import { nameOf, podOf, startCluster, startGateway } from '../lib/gateway.js';
import { startVirtualPod } from '../lib/pod.js';
import { mediaCodecs, opus } from '../lib/rtp.js';
import { until } from '../lib/until.js';

/** A few consumers are too many for such a worker. */
const low = ['--watermark', '0.05'];

const pathOf = (/** @type {string} */ session) => `/v1/sessions/${session}`;

/**
 * What a gateway says of a session.
 * @param {import('../lib/gateway.js').Gateway} gateway
 * @param {string} name
 * @returns {Promise<{ generation: number, pod: string, pods: string[], lastReason: string }>}
 */
async function sessionAt(gateway, name) {
  const { body } = await gateway.ask('GET', '/v1/sessions');
  const found = body.sessions.find((/** @type {{ name: string }} */ other) => other.name === name);
  assert.ok(found, `the gateway has session ${name}`);
  return found;
}

/**
 * How many transports lie on a pod's workers, pipes included.
 * @param {import('../lib/pod.js').Pod} pod
 */
async function carried(pod) {
  const { workers } = await pod.status();
  return workers.reduce((sum, { carries }) => sum + carries.transports, 0);
}

/**
 * Takes a pod out of service, or (DELETE) takes that back, and waits until the gateway knows.
 * @param {import('../lib/gateway.js').Gateway} gateway
 * @param {import('../lib/pod.js').Pod} pod
 * @param {'PUT' | 'DELETE'} method
 */
async function drain(gateway, pod, method) {
  const body = method === 'PUT' ? JSON.stringify({ phase: 'cordoned' }) : undefined;
  await fetch(`${pod.url}/v1/drain`, { method, body });
  const wanted = method === 'PUT' ? 'draining' : 'ready';
  await until(`the node is ${wanted}`, async () => {
    return (await gateway.states())[nameOf(pod)] === wanted;
  });
}

/**
 * A session's application with a call, and as many listeners as are let in.
 * @param {import('node:test').TestContext} t
 * @param {import('../lib/gateway.js').Gateway} gateway
 * @param {string} session
 */
async function startStage(t, gateway, session) {
  const worker = await createWorker(t, gateway.webSocketUrl + pathOf(session));
  const router = await worker.createRouter({ mediaCodecs });
  const call = await flowThrough(t, router, {
    ssrc: 1111,
    rtpParameters: opus(1111),
    interval: 100,
  });
  const sink = dgram.createSocket('udp4').bind(0, '127.0.0.1');
  await once(sink, 'listening');
  t.after(() => sink.close());
  /** Ports that media came from. @type {Set<number>} */
  const ports = new Set();
  sink.on('message', (_bytes, { port }) => ports.add(port));
  /** @type {import('mediasoup').types.PlainTransport[]} */
  const listeners = [];
  return {
    worker,
    call,
    /** One more listens. */
    async join() {
      const transport = await router.createPlainTransport({
        listenInfo: { protocol: 'udp', ip: '127.0.0.1' },
      });
      listeners.push(transport);
      await transport.connect({ ip: '127.0.0.1', port: sink.address().port });
      await transport.consume({
        producerId: call.producer.id,
        rtpCapabilities: router.rtpCapabilities,
      });
    },
    /** All of them go. */
    leave() {
      for (const transport of listeners.splice(0)) transport.close();
    },
    /** Whether somebody got media from that pod. @param {import('../lib/pod.js').Pod} pod */
    hears({ rtcPortRange: { first, last } }) {
      return [...ports].some((port) => first <= port && port <= last);
    },
  };
}

/**
 * Two nodes, and a session that has grown from its home to the other one.
 * @param {import('node:test').TestContext} t
 */
async function startGrown(t) {
  const { pods, gateway } = await startCluster(t, 2, { podArgs: low, args: low });
  const second = await startGateway(t, pods, { args: low });
  const made = await gateway.ask('PUT', pathOf('stage'), { expectedParticipants: 40 });
  assert.deepEqual([made.status, made.body.maxPods], [201, 8]);
  const stage = await startStage(t, gateway, 'stage');
  const home = await podOf(pods, stage.worker);
  const [other] = pods.filter((pod) => pod !== home);
  assert.deepEqual((await sessionAt(gateway, 'stage')).pods, [nameOf(home)]);
  await until(
    'the other node lends and is used',
    async () => {
      await stage.join();
      return (await carried(other)) > 0;
    },
    { within: 60_000 },
  );
  return { gateway, second, stage, home, other };
}

// Protects sessions that outgrow a node, and the nodes that they have outgrown it to.
test('a session grows to a second node when its home is full, and back when that is not used', async (t) => {
  const { gateway, second, stage, home, other } = await startGrown(t);
  await until('media comes from the second node', () => stage.hears(other));
  const grown = await until('the gateway knows', async () => {
    const session = await sessionAt(gateway, 'stage');
    assert.equal(session.pods.length, 2);
    return session;
  });
  assert.deepEqual(
    [grown.generation, grown.pod, grown.pods, grown.lastReason],
    [1, nameOf(home), [nameOf(home), nameOf(other)], 'WorkersHot'],
  );
  await until('so does the other gateway', async () => {
    assert.deepEqual(await sessionAt(second, 'stage'), grown);
    return true;
  });

  stage.leave();
  await until(
    'it is on one node again',
    async () => (await sessionAt(gateway, 'stage')).pods.length === 1,
    { within: 120_000 },
  );
  assert.equal((await sessionAt(gateway, 'stage')).lastReason, 'LenderUnused');
  await until('nothing is left there', async () => (await carried(other)) === 0);
  const { received } = await stage.call.flow.report();
  await until('the call at home goes on', async () => {
    return (await stage.call.flow.report()).received > received + 10;
  });
  // Whichever was faster, both times.
  const texts = await Promise.all(
    [gateway, second].map(async (one) => (await one.ask('GET', '/metrics')).text),
  );
  for (const reason of ['WorkersHot', 'LenderUnused']) {
    assert.match(texts.join(), new RegExp(`mafalda_gateway_lendings_total{reason="${reason}"} 1`));
    assert.match(gateway.program.output + second.program.output, new RegExp(reason));
  }
});

// Protects nodes that are to be emptied from sessions that go on filling them.
test('a node that drains lends no more, and what is there may finish', async (t) => {
  const { gateway, stage, home, other } = await startGrown(t);
  await drain(gateway, other, 'PUT');
  const session = await until('it is returned', async () => {
    const session = await sessionAt(gateway, 'stage');
    assert.equal(session.pods.length, 1);
    return session;
  });
  assert.deepEqual([session.pods, session.lastReason], [[nameOf(home)], 'LenderDrains']);
  assert.ok((await carried(other)) > 0);
  stage.leave();
  await until('it is empty', async () => (await carried(other)) === 0);
});

// Protects small sessions from pipes, and those that must stay on one node.
test('a session that is small or may not spread stays on its home, however full that is', async (t) => {
  const { pods, gateway } = await startCluster(t, 2, { podArgs: low, args: low });
  const [home, other] = pods;
  await drain(gateway, other, 'PUT');
  for (const [name, body] of /** @type {[string, object][]} */ ([
    ['large', { expectedParticipants: 40 }],
    ['one', { expectedParticipants: 40, maxPods: 1 }],
    ['small', { expectedParticipants: 2 }],
  ])) {
    const made = await gateway.ask('PUT', pathOf(name), body);
    assert.deepEqual([made.status, made.headers.get('mafalda-pod')], [201, nameOf(home)]);
  }
  await drain(gateway, other, 'DELETE');
  const large = await startStage(t, gateway, 'large');
  await startStage(t, gateway, 'one');
  await startStage(t, gateway, 'small');
  const others = ['one', 'small'];
  const wanted = new Set();
  await until(
    'all would be well served with more, and the large one has it',
    async () => {
      await large.join();
      const { sessions } = await home.status();
      for (const { name, wantsMore } of sessions) {
        if (wantsMore && others.includes(name)) wanted.add(name);
      }
      const { pods } = await sessionAt(gateway, 'large');
      return wanted.size === 2 && pods.length === 2 && (await carried(other)) > 0;
    },
    { within: 60_000 },
  );
  for (const name of others) {
    const { pods, lastReason } = await sessionAt(gateway, name);
    assert.deepEqual([pods, lastReason], [[nameOf(home)], 'Placed'], name);
  }
});

test('what a session is to be has bounds, which are told', async (t) => {
  const { gateway } = await startCluster(t, 1);
  for (const [body, field] of /** @type {[object, RegExp][]} */ ([
    [{ maxPods: 0 }, /maxPods: a number, 1 to 64/],
    [{ maxPods: 65 }, /maxPods: a number, 1 to 64/],
    [{ maxPods: 'many' }, /maxPods: a number, 1 to 64/],
    [{ expectedParticipants: 0 }, /expectedParticipants: a number, 1 to 100000/],
  ])) {
    const answer = await gateway.ask('PUT', pathOf('call'), body);
    assert.deepEqual([answer.status, answer.body.error.code], [400, 'badRequest']);
    assert.match(answer.body.error.message, field);
  }
  const made = await gateway.ask('PUT', pathOf('call'), { maxPods: 3 });
  assert.deepEqual([made.body.maxPods, made.body.expectedParticipants], [3, 10]);
  const again = await gateway.ask('PUT', pathOf('call'), {});
  assert.deepEqual([again.status, again.body.maxPods], [200, 8], 'a wish says all of it');
});

// Protects applications from a home that dies when nobody is there to place their session anew.
test('a home is killed: the next worker of its application is on another node, in the next generation', async (t) => {
  const { pods, gateway } = await startCluster(t, 3);
  await gateway.ask('PUT', pathOf('call'), { maxPods: 2, maxConnections: 5 });
  const url = gateway.webSocketUrl + pathOf('call');
  const worker = await createWorker(t, url, {}, { env: asFromAnotherHost });
  const home = await podOf(pods, worker);
  const others = pods.filter((pod) => pod !== home);
  const begin = performance.now();
  home.kill('SIGKILL');
  await until('its application hears of it', () => worker.died);
  // Several at once, and it is placed once.
  const workers = await Promise.all([1, 2, 3].map(() => createWorker(t, url)));
  t.diagnostic(`workers again after ${Math.round(performance.now() - begin)} ms`);
  const next = await podOf(others, workers[0]);
  for (const worker of workers) assert.equal(await podOf(others, worker), next);
  const session = await sessionAt(gateway, 'call');
  assert.deepEqual([session.generation, session.pod], [2, nameOf(next)]);
  assert.equal(session.lastReason, 'HomeSilent');
  const { body } = await gateway.ask('GET', pathOf('call'));
  assert.deepEqual([body.generation, body.maxPods, body.maxConnections], [2, 2, 5]);
  // One that begins again where the home was has nothing of it.
  const back = await startVirtualPod(t, { listen: `127.0.0.1:${home.port}` });
  await until('it is back', async () => (await gateway.states())[nameOf(back)] === 'ready');
  await podOf([next], await createWorker(t, url));
  assert.deepEqual((await back.status()).sessions, []);
});

test('a home is cut off: its session is placed anew for who asks, and the old home yields when it is back', async (t) => {
  const { pods, gateway } = await startCluster(t, 2);
  await gateway.ask('PUT', pathOf('call'));
  const url = gateway.webSocketUrl + pathOf('call');
  const worker = await createWorker(t, url, {}, { env: asFromAnotherHost });
  const home = await podOf(pods, worker);
  const [next] = pods.filter((pod) => pod !== home);
  home.kill('SIGSTOP');
  t.after(() => home.kill('SIGCONT'));
  await gateway.statesAre({ [nameOf(home)]: 'silent', [nameOf(next)]: 'ready' });
  // A gateway that never heard the home does not know the session, and does not say that it is none.
  const fresh = await startGateway(t, pods, { wait: false });
  await until('it hears the other node', async () => {
    return (await fresh.states())[nameOf(next)] === 'ready';
  });
  const unsure = await fresh.ask('GET', pathOf('call'));
  assert.deepEqual([unsure.status, unsure.body.error.code], [503, 'unreachable']);
  // Reading alone moves nothing.
  assert.equal((await gateway.ask('GET', pathOf('call'))).status, 503);
  assert.equal((await sessionAt(gateway, 'call')).generation, 1);

  const here = await createWorker(t, url);
  await podOf([next], here);
  const session = await sessionAt(gateway, 'call');
  assert.deepEqual([session.generation, session.lastReason], [2, 'HomeSilent']);
  await until('the other gateway finds it', async () => {
    return (await fresh.ask('GET', pathOf('call'))).body.generation === 2;
  });
  home.kill('SIGCONT');
  await until('the old home yields', async () => (await home.status()).sessions.length === 0);
  await until('what ran there ends', () => worker.died, { within: 60_000 });
  await here.createRouter();
});
