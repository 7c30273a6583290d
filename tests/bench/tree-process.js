// The process behind tree.js: sends a stream, and counts what comes back.
import dgram from 'node:dgram';
import { isRtcp, packet } from '../lib/rtp.js';

// Each packet comes back a thousand times at once: more than one socket's buffer holds.
const SOCKETS = 25;

let received = 0;
let index = 0;

const sockets = await Promise.all(
  Array.from({ length: SOCKETS }, async () => {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (bytes) => {
      if (!isRtcp(bytes)) received++;
    });
    await new Promise((resolve) => socket.bind(0, '127.0.0.1', () => resolve(undefined)));
    return socket;
  }),
);

process.on('message', (/** @type {Record<string, any>} */ order) => {
  const { address, port, ssrc, count, perSecond } = order;
  let left = count;
  received = 0;
  const timer = setInterval(() => {
    sockets[0].send(packet(ssrc, index++), port, address);
    if (--left > 0) return;
    clearInterval(timer);
    // The last of them are on their way.
    setTimeout(() => process.send?.({ received }), 300);
  }, 1000 / perSecond);
});
process.on('disconnect', () => process.exit());
process.send?.({ ports: sockets.map((socket) => socket.address().port) });
