// Channel requests by hand, with the schema of the installed mediasoup.
import { createRequire } from 'node:module';
import path from 'node:path';
import { Builder, ByteBuffer } from 'flatbuffers';

const require = createRequire(import.meta.url);
const fbs = path.join(path.dirname(require.resolve('mediasoup')), 'fbs');
const { Request, Method, Body: RequestBody } = require(path.join(fbs, 'request.js'));
const { Message, Body } = require(path.join(fbs, 'message.js'));
const { CreateRouterRequestT } = require(path.join(fbs, 'worker.js'));

export { Method };

/**
 * A request of the worker, with its size before it.
 * @param {number} id
 * @param {number} [method]  WORKER_DUMP unless told
 * @param {string} [handler]  whose request it is; the worker's own unless told
 * @returns {Buffer}
 */
export function request(id, method = Method.WORKER_DUMP, handler = '') {
  const builder = new Builder(256);
  const handlerId = builder.createString(handler);
  let [bodyType, body] = [RequestBody.NONE, 0];
  if (method === Method.WORKER_CREATE_ROUTER) {
    bodyType = RequestBody.Worker_CreateRouterRequest;
    body = new CreateRouterRequestT('00000000-0000-4000-8000-000000000001').pack(builder);
  }
  const offset = Request.createRequest(builder, id, method, handlerId, bodyType, body);
  builder.finishSizePrefixed(Message.createMessage(builder, Body.Request, offset));
  return Buffer.from(builder.asUint8Array());
}

/**
 * Whether a frame of the pod has the accepting response to request `id`.
 * @param {Buffer} frame  one or more size-prefixed messages
 * @param {number} id
 */
export function answers(frame, id) {
  return answerTo(frame, id) === true;
}

/**
 * Whether the response to request `id` in a frame of the pod accepts it; undefined if there is none.
 * @param {Buffer} frame
 * @param {number} id
 * @returns {boolean | undefined}
 */
export function answerTo(frame, id) {
  // Above this the first four bytes mark another kind of frame.
  if (frame.length < 4 || frame.readUInt32LE(0) > 0x0fffffff) return undefined;
  for (let at = 0; at + 4 <= frame.length; at += 4 + frame.readUInt32LE(at)) {
    const message = Message.getSizePrefixedRootAsMessage(new ByteBuffer(frame.subarray(at)));
    if (message.dataType() !== Body.Response) continue;
    const { Response } = require(path.join(fbs, 'response.js'));
    const response = message.data(new Response());
    if (response.id() === id) return response.accepted();
  }
  return undefined;
}
