// RTP packets whose order and content a receiver can check.
import assert from 'node:assert/strict';
import { until } from './until.js';

/** What the routers of the tests offer. @type {import('mediasoup').types.RouterRtpCodecCapability[]} */
export const mediaCodecs = [
  {
    kind: 'audio',
    mimeType: 'audio/opus',
    clockRate: 48000,
    channels: 2,
    preferredPayloadType: 100,
  },
  { kind: 'video', mimeType: 'video/VP8', clockRate: 90000, preferredPayloadType: 101 },
];

/**
 * Parameters of one opus stream, as a client would send.
 * @param {number} ssrc
 * @returns {import('mediasoup').types.RtpParameters}
 */
export function opus(ssrc) {
  return {
    mid: '0',
    codecs: [{ mimeType: 'audio/opus', payloadType: 100, clockRate: 48000, channels: 2 }],
    encodings: [{ ssrc }],
    rtcp: { cname: 'mafalda-test' },
  };
}

const PAYLOAD = 160;

/**
 * Packet number `index` of a stream of 20 ms opus packets.
 * @param {number} ssrc
 * @param {number} index
 */
export function packet(ssrc, index) {
  const bytes = Buffer.alloc(12 + PAYLOAD, index & 0xff);
  bytes[0] = 0x80;
  bytes[1] = 100;
  bytes.writeUInt16BE(index & 0xffff, 2);
  bytes.writeUInt32BE((index * 960) >>> 0, 4);
  bytes.writeUInt32BE(ssrc, 8);
  bytes.writeUInt32BE(index, 12);
  return bytes;
}

/** @param {Buffer} bytes  an RTP packet (not RTCP) */
export function parse(bytes) {
  const headerLength =
    12 +
    (bytes[0] & 0x0f) * 4 +
    (bytes[0] & 0x10 ? 4 + bytes.readUInt16BE(14 + (bytes[0] & 0x0f) * 4) * 4 : 0);
  return {
    payloadType: bytes[1] & 0x7f,
    sequenceNumber: bytes.readUInt16BE(2),
    ssrc: bytes.readUInt32BE(8),
    payload: bytes.subarray(headerLength),
  };
}

/** @param {Buffer} bytes  whether it is RTCP, where both share a port (RFC 5761) */
export function isRtcp(bytes) {
  return bytes.length >= 2 && bytes[1] >= 192 && bytes[1] <= 223;
}

/**
 * The number that `packet` put into a payload, if all of the payload is as it was sent.
 * @param {Buffer} payload
 */
export function indexOf(payload) {
  if (payload.length !== PAYLOAD) throw new Error(`payload of ${payload.length} bytes`);
  const index = payload.readUInt32BE(0);
  if (payload.subarray(4).some((byte) => byte !== (index & 0xff))) {
    throw new Error(`payload of packet ${index} was changed`);
  }
  return index;
}

/**
 * Sends packets 0 to `count`, a few at a time, so that no socket's buffer overflows, and
 * waits for them to arrive.
 * @param {number} count
 * @param {(index: number) => unknown} send
 * @param {number[]} received  where their numbers appear
 */
export async function sendAndAwait(count, send, received) {
  for (let i = 0; i < count; i++) {
    await send(i);
    if (i % 50 === 49 || i === count - 1) {
      await until(`packet ${i} arrived`, () => received.length > i);
    }
  }
  assert.deepEqual(
    received,
    Array.from({ length: count }, (_, i) => i),
  );
}
