// The process behind lib/flow.js.
import dgram from 'node:dgram';
import { indexOf, isRtcp, packet, parse } from './rtp.js';

const interval = Number(process.argv[2]);
const socket = dgram.createSocket('udp4');

/** When packet `i` was sent, and whether it arrived. @type {{ sent: number, arrived: boolean }[]} */
const packets = [];
const numbers = { doubled: 0, disordered: 0, maxGap: 0, maxTransit: 0 };
let last = { index: -1, time: 0 };
/** @type {NodeJS.Timeout | undefined} */
let timer;

socket.on('message', (bytes) => {
  if (isRtcp(bytes)) return;
  const now = performance.now();
  const index = indexOf(parse(bytes).payload);
  const { sent, arrived } = packets[index];
  if (arrived) numbers.doubled++;
  if (index < last.index) numbers.disordered++;
  if (last.index >= 0) numbers.maxGap = Math.max(numbers.maxGap, now - last.time);
  numbers.maxTransit = Math.max(numbers.maxTransit, now - sent);
  packets[index].arrived = true;
  last = { index: Math.max(index, last.index), time: now };
});

const actions = {
  /** @param {{ address: string, port: number, ssrc: number }} to */
  send({ address, port, ssrc }) {
    timer = setInterval(() => {
      socket.send(packet(ssrc, packets.length), port, address);
      packets.push({ sent: performance.now(), arrived: false });
    }, interval);
  },
  stop() {
    clearInterval(timer);
  },
  report() {
    const first = packets.findIndex(({ arrived }) => arrived);
    const lost = packets.flatMap(({ arrived }, i) =>
      !arrived && i > first && i < last.index ? [i] : [],
    );
    const received = packets.filter(({ arrived }) => arrived).length;
    process.send?.({ sent: packets.length, received, lost, ...numbers });
  },
};

process.on('message', (/** @type {Record<string, any>} */ message) => {
  for (const [name, argument] of Object.entries(message)) actions[name](argument);
});
process.on('disconnect', () => process.exit());
socket.bind(0, '127.0.0.1', () => process.send?.({ port: socket.address().port }));
