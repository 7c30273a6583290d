// A TCP proxy on loopback whose connections a test can break.
import net from 'node:net';
import { scopeOf } from './scope.js';
import { event } from './until.js';

/**
 * @param {import('./scope.js').Owner} owner
 * @param {number} port  where it leads, on 127.0.0.1
 */
export async function startProxy(owner, port) {
  /** @type {Set<net.Socket>} */
  const sockets = new Set();
  const proxy = {
    webSocketUrl: '',
    /** Connections taken so far. */
    taken: 0,
    /** Bytes carried so far, both directions. */
    carried: 0,
    /** Breaks every connection, in both directions, wherever its bytes just are. */
    breakAll() {
      for (const socket of sockets) {
        // Node never gets rid of a socket that is reset while it says goodbye.
        if (socket.writableEnded) socket.destroy();
        else socket.resetAndDestroy();
      }
    },
  };
  const server = net.createServer((near) => {
    proxy.taken++;
    const far = net.connect(port, '127.0.0.1');
    for (const [from, to] of [
      [near, far],
      [far, near],
    ]) {
      sockets.add(from);
      from.setNoDelay(true);
      from.on('data', (bytes) => {
        proxy.carried += bytes.length;
        if (!to.write(bytes)) from.pause();
      });
      from.on('drain', () => to.resume());
      from.on('end', () => to.end());
      from.on('error', () => {});
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await event(server, 'listening');
  proxy.webSocketUrl = `ws://127.0.0.1:${/** @type {net.AddressInfo} */ (server.address()).port}`;
  scopeOf(owner).after(() => {
    proxy.breakAll();
    server.close();
  });
  return proxy;
}
