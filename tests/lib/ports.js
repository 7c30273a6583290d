// Blocks of ports that no other test of this machine uses at the same time. A block is
// held by a listening socket on its first port, which ends with this process.
import net from 'node:net';

// Below the range from which Linux takes ports for outgoing sockets (32768 and up).
const FIRST = 10_000;
const LAST = 32_000;
const BLOCK = 250;

let next = FIRST + (process.pid % 80) * BLOCK;

/**
 * @returns {Promise<{ rtcPort: number, rtcPortRange: string }>} 49 ports for the workers'
 *   WebRtcServers and 200 for their plain and pipe transports
 */
export async function mediaPorts() {
  for (let tried = 0; tried < (LAST - FIRST) / BLOCK; tried++) {
    const base = next;
    next = next + BLOCK > LAST - BLOCK ? FIRST : next + BLOCK;
    if (await hold(base)) {
      return { rtcPort: base + 1, rtcPortRange: `${base + 50}-${base + BLOCK - 1}` };
    }
  }
  throw new Error('no free block of ports');
}

/** @param {number} port */
function hold(port) {
  return new Promise((resolve) => {
    const socket = net.createServer();
    socket.once('error', () => resolve(false));
    socket.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
      socket.unref();
      resolve(true);
    });
  });
}
