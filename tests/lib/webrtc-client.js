// A WebRTC client without a browser: real ICE, DTLS, SRTP and SCTP (npm werift).
import {
  IceCandidate,
  RTCDataChannel,
  RTCDataChannelParameters,
  RTCDtlsFingerprint,
  RTCDtlsParameters,
  RTCDtlsTransport,
  RTCIceGatherer,
  RTCIceTransport,
  RTCSctpTransport,
  RtpPacket,
} from 'werift';
import { isIPv6 } from 'node:net';
import { scopeOf } from './scope.js';
import { until } from './until.js';

// Both profiles that werift has (RFC 5764, RFC 7714), the one that browsers prefer first.
const AEAD_AES_128_GCM = /** @type {const} */ (7);
const AES_CM_128_HMAC_SHA1_80 = /** @type {const} */ (1);

/**
 * @typedef {object} ClientOptions
 * @property {'client' | 'server'} [dtlsRole]  "client" unless told
 * @property {boolean} [onlySha1]  offers AES_CM_128_HMAC_SHA1_80 alone
 * @property {string[]} [addresses]  the client's own; loopback unless told
 */

/**
 * Connects a client to a WebRtcTransport, with nothing but what the application would
 * send it. It is stopped with `owner`.
 * @param {import('./scope.js').Owner} owner
 * @param {import('mediasoup').types.WebRtcTransport} transport
 * @param {ClientOptions} [options]
 */
export async function connectClient(
  owner,
  transport,
  { dtlsRole = 'client', onlySha1 = false, addresses } = {},
) {
  const candidates = transport.iceCandidates.filter(({ protocol }) => protocol === 'udp');
  const loopbacks = candidates.map(({ address }) => (isIPv6(address) ? '::1' : '127.0.0.1'));
  const gatherer = new RTCIceGatherer({
    useIpv4: false,
    useIpv6: false,
    additionalHostAddresses: addresses ?? [...new Set(loopbacks)],
    stunServer: undefined,
  });
  gatherer.connection.iceControlling = true;
  const ice = new RTCIceTransport(gatherer);
  const certificate = await RTCDtlsTransport.SetupCertificate();
  const profiles = onlySha1
    ? [AES_CM_128_HMAC_SHA1_80]
    : [AEAD_AES_128_GCM, AES_CM_128_HMAC_SHA1_80];
  const dtls = new RTCDtlsTransport({}, ice, certificate, profiles);
  dtls.role = dtlsRole;
  const client = new WebRtcClient(ice, dtls);
  scopeOf(owner).after(() => client.stop());

  await ice.gather();
  ice.setRemoteParams({ iceLite: true, ...transport.iceParameters });
  for (const { foundation, address, port, priority, protocol, type } of candidates) {
    await ice.addRemoteCandidate(
      new IceCandidate(1, foundation, address, port, priority, protocol, type),
    );
  }
  await ice.addRemoteCandidate(undefined);
  const { fingerprints } = transport.dtlsParameters;
  dtls.setRemoteParams(
    new RTCDtlsParameters(
      fingerprints.map(({ algorithm, value }) => new RTCDtlsFingerprint(algorithm, value)),
      dtlsRole === 'client' ? 'server' : 'client',
    ),
  );
  await transport.connect({
    dtlsParameters: {
      role: dtlsRole,
      fingerprints: /** @type {any} */ (certificate.getFingerprints()),
    },
  });
  await ice.start();
  await dtls.start();
  await until('DTLS is connected on both sides', () => transport.dtlsState === 'connected');
  return client;
}

export class WebRtcClient {
  /** @type {((packet: { ssrc: number, sequenceNumber: number, payloadType: number, payload: Buffer }) => void) | undefined} */
  onRtp;

  /**
   * @param {RTCIceTransport} ice
   * @param {RTCDtlsTransport} dtls
   */
  constructor(ice, dtls) {
    this.ice = ice;
    this.dtls = dtls;
    dtls.onRtp.subscribe(({ header, payload }) => this.onRtp?.({ ...header, payload }));
  }

  /** The pair that ICE chose: what this client really sends to. */
  get remoteCandidate() {
    return this.ice.connection.nominated?.remoteCandidate;
  }

  /** The certificate the worker showed, as DER. */
  get remoteCertificate() {
    return this.dtls.dtls?.remoteCertificate;
  }

  /** @param {Buffer} bytes  a whole RTP packet, sent through SRTP */
  sendRtp(bytes) {
    const { payload, header } = RtpPacket.deSerialize(bytes);
    return this.dtls.sendRtp(payload, header);
  }

  /**
   * Starts SCTP over DTLS.
   * @param {import('mediasoup').types.SctpParameters} remote
   */
  async startSctp({ port, maxMessageSize }) {
    this.sctp = new RTCSctpTransport(port, maxMessageSize);
    this.sctp.setDtlsTransport(this.dtls);
    await this.sctp.start(port);
    await until('SCTP is connected', () => this.sctp?.sctp.state === 'connected');
  }

  /**
   * A data channel on a stream id that both sides know (no DCEP, as mediasoup has it).
   * @param {number} id
   * @param {{ ordered?: boolean, maxRetransmits?: number }} [reliability]
   */
  async channel(id, { ordered = true, maxRetransmits } = {}) {
    const options = { id, negotiated: true, ordered, maxRetransmits };
    const parameters = new RTCDataChannelParameters(options);
    const channel = new RTCDataChannel(
      /** @type {RTCSctpTransport} */ (this.sctp),
      parameters,
      false,
    );
    if (channel.readyState !== 'open')
      await until('the channel is open', () => channel.readyState === 'open');
    return channel;
  }

  async stop() {
    await this.sctp?.stop();
    await this.dtls.stop();
  }
}
