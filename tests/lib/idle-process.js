// Opens many TCP connections, says on each what it is told, and holds them.
//   node idle-process.js PORT COUNT FIRST_BYTES_IN_BASE64
import net from 'node:net';

const [port, count] = process.argv.slice(2, 4).map(Number);
const words = Buffer.from(process.argv[4] ?? '', 'base64');
let open = 0;
let refused = 0;
let closed = 0;
let started = 0;

/** A few at a time: a listener's backlog is no place for thousands. */
function next() {
  if (started === count) return;
  started++;
  const socket = net.connect(port, '127.0.0.1');
  let connected = false;
  socket.on('connect', () => {
    connected = true;
    open++;
    if (words.length > 0) socket.write(words);
    next();
  });
  socket.on('data', () => {});
  socket.on('error', () => {});
  socket.on('close', () => {
    if (connected) {
      open--;
      closed++;
    } else {
      refused++;
      next();
    }
  });
}
for (let i = 0; i < 64; i++) next();

process.on('message', () => process.send?.({ started, open, closed, refused }));
process.on('disconnect', () => process.exit());
