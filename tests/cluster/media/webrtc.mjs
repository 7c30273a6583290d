// webrtc.mjs: an ordinary mediasoup application with two WebRTC clients, on the session that the
// relay's variables name. The clients know what browsers are told and nothing else: the candidates.
// One sends 200 numbered packets, the other must get each; then it prints one line of JSON: the
// addresses that the packets went to.
import * as mediasoup from 'mediasoup';
import { indexOf, mediaCodecs, opus, packet, sendAndAwait } from '../../lib/rtp.js';
import { Scope } from '../../lib/scope.js';
import { connectClient } from '../../lib/webrtc-client.js';
import { ownAddressTowards } from './own-address.mjs';

const PACKETS = 200;
const SSRC = 1111;

const scope = new Scope();
try {
  const worker = await mediasoup.createWorker();
  scope.after(() => worker.close());
  const router = await worker.createRouter({ mediaCodecs });
  // As one writes it for a worker on one's own host.
  const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '127.0.0.1' }];
  const transports = [
    await router.createWebRtcTransport({ listenInfos }),
    await router.createWebRtcTransport({ listenInfos }),
  ];
  const clients = await Promise.all(
    transports.map(async (transport) => {
      const [{ address, port }] = transport.iceCandidates;
      const own = await ownAddressTowards(address, port);
      return connectClient(scope, transport, { addresses: [own] });
    }),
  );
  const [from, to] = transports;
  const [sender, receiver] = clients;
  const producer = await from.produce({ kind: 'audio', rtpParameters: opus(SSRC) });
  const { rtpCapabilities } = router;
  await to.consume({ producerId: producer.id, rtpCapabilities });
  /** @type {number[]} */
  const received = [];
  receiver.onRtp = ({ payload }) => received.push(indexOf(payload));
  await sendAndAwait(PACKETS, (index) => sender.sendRtp(packet(SSRC, index)), received);
  const ways = clients.map(({ remoteCandidate: to }) => `${to?.host}:${to?.port}`);
  console.log(JSON.stringify({ received: received.length, ways: [...new Set(ways)] }));
} finally {
  await scope.end();
}
process.exit();
