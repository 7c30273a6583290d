// RTCP that a test sends and reads (RFC 3550, RFC 4585, RFC 5104).
const SENDER_REPORT = 200;
const TRANSPORT_FEEDBACK = 205;
const PAYLOAD_FEEDBACK = 206;
const NACK = 1;
const PLI = 1;
const FIR = 4;

/** From 1900, where NTP begins, to 1970, seconds. */
const NTP_EPOCH = 2_208_988_800;

/**
 * The streams that a compound packet asks key frames of.
 * @param {Buffer} bytes
 * @returns {number[]} SSRCs
 */
export function keyFrameRequests(bytes) {
  return packets(bytes).flatMap((packet) => {
    if (packet[1] !== PAYLOAD_FEEDBACK) return [];
    const format = packet[0] & 0x1f;
    if (format === PLI) return [packet.readUInt32BE(8)];
    if (format === FIR) return [packet.readUInt32BE(12)];
    return [];
  });
}

/** @param {Buffer} bytes */
function packets(bytes) {
  const all = [];
  for (let at = 0; at + 4 <= bytes.length;) {
    const length = 4 + bytes.readUInt16BE(at + 2) * 4;
    all.push(bytes.subarray(at, at + length));
    at += length;
  }
  return all;
}

/**
 * Asks for packets to be sent again.
 * @param {number} ssrc
 * @param {number} sequenceNumber
 */
export function nack(ssrc, sequenceNumber) {
  const bytes = Buffer.alloc(16);
  bytes[0] = 0x80 | NACK;
  bytes[1] = TRANSPORT_FEEDBACK;
  bytes.writeUInt16BE(3, 2);
  bytes.writeUInt32BE(ssrc, 8);
  bytes.writeUInt16BE(sequenceNumber & 0xffff, 12);
  return bytes;
}

/**
 * Says which moment a stream's time stamps mean.
 * @param {number} ssrc
 * @param {number} timestamp  of the stream, now
 * @param {number} [now]  milliseconds since 1970
 */
export function senderReport(ssrc, timestamp, now = Date.now()) {
  const bytes = Buffer.alloc(28);
  bytes[0] = 0x80;
  bytes[1] = SENDER_REPORT;
  bytes.writeUInt16BE(6, 2);
  bytes.writeUInt32BE(ssrc, 4);
  bytes.writeUInt32BE(Math.floor(now / 1000) + NTP_EPOCH, 8);
  bytes.writeUInt32BE(Math.floor(((now % 1000) / 1000) * 2 ** 32), 12);
  bytes.writeUInt32BE(timestamp >>> 0, 16);
  return bytes;
}
