/** A video conference on mediasoup: serves its page and the WebSocket that the page talks to. */
import { createServer as createHttpServer } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';

import { setLogEventListeners } from 'mediasoup';
import { WebSocketServer } from 'ws';

import { configFrom, type Config } from './config.ts';
import { Connection } from './connection.ts';
import { pageHandler } from './page.ts';
import { Rooms } from './rooms.ts';
import { Workers } from './workers.ts';

const PAGE = fileURLToPath(new URL('../dist', import.meta.url));
const MAX_MESSAGE_BYTES = 256 * 1024;

async function main(): Promise<void> {
  setLogEventListeners({
    onwarn: (namespace, log) => console.warn(`${namespace}: ${log}`),
    onerror: (namespace, log) => console.error(`${namespace}: ${log}`),
  });
  const config = configFrom(process.env);
  const workers = new Workers();
  const page = pageHandler(PAGE);
  const server = config.tls ? createHttpsServer(config.tls, page) : createHttpServer(page);
  const sockets = new WebSocketServer({ server, path: '/ws', maxPayload: MAX_MESSAGE_BYTES });
  // The WebSocket server repeats the errors of its HTTP server (no more file handles, say).
  sockets.on('error', (error) => console.error(`server: ${error.message}`));
  const rooms = new Rooms(workers, config.listenInfos);
  sockets.on('connection', (socket) => new Connection(socket, rooms));

  const stop = () => {
    for (const socket of sockets.clients) socket.terminate();
    server.close();
    workers.stop();
  };
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);

  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(config.port, config.host, resolve);
  });
  await workers.start(config.workers);
  console.log(`conference ready on ${urlOf(config, server.address() as AddressInfo)}`);
}

function urlOf(config: Config, { address, family, port }: AddressInfo): string {
  const host = family === 'IPv6' ? `[${address}]` : address;
  return `${config.tls ? 'https' : 'http'}://${host}:${port}`;
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
