// Which of this host's addresses others see.
import dgram from 'node:dgram';
import { once } from 'node:events';

/**
 * The address of this host on the way to another.
 * @param {string} address
 * @param {number} port
 */
export async function ownAddressTowards(address, port) {
  const socket = dgram.createSocket('udp4');
  // Nothing is sent: the system only chooses the way.
  socket.connect(port, address);
  await once(socket, 'connect');
  const own = socket.address().address;
  socket.close();
  return own;
}
