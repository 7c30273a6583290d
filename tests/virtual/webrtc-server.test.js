// A WebRtcServer of the application stands for the ports of all members.
import assert from 'node:assert/strict';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { mediaCodecs } from '../lib/rtp.js';
import { event, until } from '../lib/until.js';
import { membersOf, startSpread, topologyOf } from '../lib/virtual.js';
import { connectClient } from '../lib/webrtc-client.js';

const listenInfos = [
  { protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1', port: 44444 },
  { protocol: /** @type {const} */ ('tcp'), ip: '127.0.0.1', port: 44444 },
];

// Protects applications that open one port for all their clients: they spread all the same.
test('transports on one WebRtcServer lie on all members', async (t) => {
  const { pod, worker, router } = await startSpread(t);
  const server = await worker.createWebRtcServer({ listenInfos });
  const transports = [];
  for (let i = 0; i < 6; i++)
    transports.push(await router.createWebRtcTransport({ webRtcServer: server }));
  const members = await membersOf(pod, ...transports);
  assert.equal(new Set(members).size, 3);
  const topology = await topologyOf(pod);
  for (const [i, { iceCandidates }] of transports.entries()) {
    const { worker } = topology.members.find(({ member }) => member === members[i]) ?? {};
    assert.deepEqual(
      iceCandidates.map(({ protocol, port }) => `${protocol} ${port}`).sort(),
      [`tcp ${pod.rtcPort + Number(worker)}`, `udp ${pod.rtcPort + Number(worker)}`],
      "the port of the transport's member",
    );
  }
  await Promise.all(transports.slice(0, 3).map((transport) => connectClient(t, transport)));

  assert.deepEqual((await worker.dump()).webRtcServerIds, [server.id]);
  const ids = transports.map(({ id }) => id).sort();
  const dump = await server.dump();
  assert.equal(dump.id, server.id);
  assert.deepEqual([...dump.webRtcTransportIds].sort(), ids);
  assert.deepEqual(
    dump.localIceUsernameFragments.map(({ webRtcTransportId }) => webRtcTransportId).sort(),
    ids,
  );
  const ports = [0, 1, 2].map((index) => pod.rtcPort + index);
  for (const sockets of [dump.udpSockets, dump.tcpServers])
    assert.deepEqual(sockets.map(({ port }) => port).sort(), ports);

  transports[0].close();
  await until('the dump has it no more', async () => {
    const { webRtcTransportIds } = await server.dump();
    return webRtcTransportIds.length === 5;
  });
  const rest = transports.slice(1);
  const closed = rest.map((transport) => event(transport, 'listenserverclose'));
  server.close();
  await Promise.all(closed);
  assert.ok(rest.every((transport) => transport.closed));
  assert.deepEqual((await worker.dump()).webRtcServerIds, []);
  await until('nothing is left on members', async () => {
    const { virtualWorkers } = await topologyOf(pod);
    return virtualWorkers[0].transports.length === 0;
  });
  assert.deepEqual((await router.dump()).transportIds, []);
});

// Protects two servers and two applications from each other: each names its own transports.
test('several WebRtcServers, of several applications, on the same ports', async (t) => {
  const { pod, worker, router } = await startSpread(t, { workers: 2 });
  const other = await createWorker(t, pod);
  const otherRouter = await other.createRouter({ mediaCodecs });
  const servers = [];
  for (const each of [worker, worker, other])
    servers.push(await each.createWebRtcServer({ listenInfos }));
  const routers = [router, router, otherRouter];
  const transports = [];
  for (const [i, webRtcServer] of servers.entries()) {
    transports.push(await routers[i].createWebRtcTransport({ webRtcServer }));
    transports.push(await routers[i].createWebRtcTransport({ webRtcServer }));
  }
  for (const [i, server] of servers.entries()) {
    const { webRtcTransportIds } = await server.dump();
    assert.deepEqual(
      [...webRtcTransportIds].sort(),
      [transports[2 * i].id, transports[2 * i + 1].id].sort(),
    );
  }
  const closed = transports.slice(0, 2).map((each) => event(each, 'listenserverclose'));
  servers[0].close();
  await Promise.all(closed);
  assert.deepEqual(
    transports.map((transport) => transport.closed),
    [true, true, false, false, false, false],
  );
  await connectClient(t, transports[2]);
  await connectClient(t, transports[5]);
});
