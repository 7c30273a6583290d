// A peer of plain transports: a UDP socket that keeps what it receives.
import dgram from 'node:dgram';
import { isIPv6 } from 'node:net';
import { scopeOf } from './scope.js';
import { event } from './until.js';

/**
 * @param {import('./scope.js').Owner} owner
 * @param {string} [address]  where it is bound
 */
export async function udpPeer(owner, address = '127.0.0.1') {
  const peer = new UdpPeer(address);
  scopeOf(owner).after(() => peer.close());
  await event(peer.socket, 'listening');
  return peer;
}

export class UdpPeer {
  /** @type {{ bytes: Buffer, from: { address: string, port: number } }[]} */
  received = [];
  #closed = false;

  /** @param {string} address */
  constructor(address) {
    this.socket = dgram.createSocket(isIPv6(address) ? 'udp6' : 'udp4');
    this.socket.on('message', (bytes, { address, port }) => {
      this.received.push({ bytes, from: { address, port } });
    });
    this.socket.bind(0, address);
  }

  get address() {
    return this.socket.address().address;
  }

  get port() {
    return this.socket.address().port;
  }

  /**
   * @param {Buffer} bytes
   * @param {{ localAddress: string, localPort: number }} tuple  a transport's, as advertised
   * @returns {Promise<void>}
   */
  send(bytes, { localAddress, localPort }) {
    return new Promise((resolve, reject) => {
      this.socket.send(bytes, localPort, localAddress, (error) =>
        error ? reject(error) : resolve(),
      );
    });
  }

  close() {
    if (this.#closed) return undefined;
    this.#closed = true;
    return new Promise((resolve) => this.socket.close(() => resolve(undefined)));
  }
}
