// RTP packets of other kinds than lib/rtp.js has: with header extensions, and VP8 video.

/**
 * @typedef {object} PacketOptions
 * @property {number} payloadType
 * @property {number} ssrc
 * @property {number} sequenceNumber
 * @property {number} timestamp
 * @property {boolean} [marker]
 * @property {Record<number, Buffer>} [extensions]  by id, one-byte headers (RFC 8285)
 * @property {Buffer} payload
 */

/** @param {PacketOptions} options */
export function rtpPacket({
  payloadType,
  ssrc,
  sequenceNumber,
  timestamp,
  marker = false,
  extensions = {},
  payload,
}) {
  const header = Buffer.alloc(12);
  const extension = extensionBlock(extensions);
  header[0] = 0x80 | (extension.length > 0 ? 0x10 : 0);
  header[1] = payloadType | (marker ? 0x80 : 0);
  header.writeUInt16BE(sequenceNumber & 0xffff, 2);
  header.writeUInt32BE(timestamp >>> 0, 4);
  header.writeUInt32BE(ssrc, 8);
  return Buffer.concat([header, extension, payload]);
}

/** @param {Record<number, Buffer>} extensions */
function extensionBlock(extensions) {
  const elements = Object.entries(extensions).map(([id, value]) =>
    Buffer.concat([Buffer.from([(Number(id) << 4) | (value.length - 1)]), value]),
  );
  if (elements.length === 0) return Buffer.alloc(0);
  const body = Buffer.concat(elements);
  const words = Math.ceil(body.length / 4);
  const block = Buffer.alloc(4 + words * 4);
  block.writeUInt16BE(0xbede, 0);
  block.writeUInt16BE(words, 2);
  body.copy(block, 4);
  return block;
}

/**
 * The header extensions of a packet, by id.
 * @param {Buffer} bytes
 * @returns {Record<number, Buffer>}
 */
export function extensionsOf(bytes) {
  /** @type {Record<number, Buffer>} */
  const found = {};
  if (!(bytes[0] & 0x10)) return found;
  const start = 12 + (bytes[0] & 0x0f) * 4;
  const end = start + 4 + bytes.readUInt16BE(start + 2) * 4;
  const twoByte = bytes.readUInt16BE(start) !== 0xbede;
  for (let at = start + 4; at < end;) {
    if (bytes[at] === 0) {
      at++;
      continue;
    }
    const id = twoByte ? bytes[at] : bytes[at] >> 4;
    const length = twoByte ? bytes[at + 1] : (bytes[at] & 0x0f) + 1;
    at += twoByte ? 2 : 1;
    found[id] = bytes.subarray(at, at + length);
    at += length;
  }
  return found;
}

/** A voice and the noise of a room in the audio level extension (RFC 6464), in -dBov. */
export const LOUD = Buffer.from([0x80 | 10]);
export const QUIET = Buffer.from([0x80 | 60]);

const VP8_PAYLOAD = 60;

/**
 * A VP8 frame of one packet. `layerOf` and `frameOf` read what is in it.
 * @param {{ isKey: boolean, layer?: number, frame: number }} options
 */
export function vp8({ isKey, layer = 0, frame }) {
  const payload = Buffer.alloc(VP8_PAYLOAD, layer);
  // The start of a partition (RFC 7741), and whether the frame depends on others.
  payload[0] = 0x10;
  payload[1] = isKey ? 0x00 : 0x01;
  payload.writeUInt32BE(frame, 12);
  return payload;
}

/** @param {Buffer} payload */
export function layerOf(payload) {
  return payload[VP8_PAYLOAD - 1];
}

/** @param {Buffer} payload */
export function frameOf(payload) {
  return payload.readUInt32BE(12);
}

/** @param {Buffer} payload */
export function isKeyFrame(payload) {
  return (payload[1] & 1) === 0;
}
