/** Settings from the environment. */
import { availableParallelism } from 'node:os';
import { readFileSync } from 'node:fs';

import type { types as mediasoup } from 'mediasoup';

export interface Config {
  /** Where the page and its WebSocket are served. */
  host: string;
  port: number;
  /** Certificate and key in PEM: browsers on other hosts give a camera to https pages only. */
  tls: { cert: Buffer; key: Buffer } | null;
  workers: number;
  /** Where media is received: UDP and TCP. */
  listenInfos: mediasoup.TransportListenInfo[];
}

/** Throws an error that says which setting is wrong. */
export function configFrom(env: NodeJS.ProcessEnv): Config {
  return {
    host: env['HOST'] ?? '127.0.0.1',
    port: wholeNumber(env, 'PORT', 3000, 0, 65535),
    tls: tlsFrom(env),
    workers: wholeNumber(env, 'WORKERS', 1, 1, availableParallelism() * 4),
    listenInfos: listenInfosFrom(env),
  };
}

function listenInfosFrom(env: NodeJS.ProcessEnv): mediasoup.TransportListenInfo[] {
  const announcedAddress = env['ANNOUNCED_ADDRESS'];
  const ip = env['LISTEN_IP'] ?? (announcedAddress ? '0.0.0.0' : '127.0.0.1');
  const address = announcedAddress ? { ip, announcedAddress } : { ip };
  return [
    { protocol: 'udp', ...address },
    { protocol: 'tcp', ...address },
  ];
}

function tlsFrom(env: NodeJS.ProcessEnv): Config['tls'] {
  const { TLS_CERT: cert, TLS_KEY: key } = env;
  if (!cert && !key) return null;
  if (!cert || !key) throw new Error('TLS_CERT and TLS_KEY belong together: give both or neither');
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

function wholeNumber(
  env: NodeJS.ProcessEnv,
  name: string,
  otherwise: number,
  least: number,
  most: number,
): number {
  const text = env[name];
  if (text === undefined || text === '') return otherwise;
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new Error(`${name} must be a whole number from ${least} to ${most}, not '${text}'`);
  }
  return value;
}
