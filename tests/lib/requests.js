// Channel requests by hand, with the schema of the installed mediasoup.
import { createRequire } from 'node:module';
import path from 'node:path';
import { Builder, ByteBuffer } from 'flatbuffers';

const require = createRequire(import.meta.url);
const fbs = path.join(path.dirname(require.resolve('mediasoup')), 'fbs');
const { Request, Method, Body: RequestBody } = require(path.join(fbs, 'request.js'));
const { Message, Body } = require(path.join(fbs, 'message.js'));
const { CreateRouterRequestT } = require(path.join(fbs, 'worker.js'));
const { CreateActiveSpeakerObserverRequestT } = require(path.join(fbs, 'router.js'));
const { ActiveSpeakerObserverOptionsT } = require(path.join(fbs, 'active-speaker-observer.js'));
const { Notification, Event } = require(path.join(fbs, 'notification.js'));

export { Event, Method };

/** The id of what a request makes, unless told. */
const MADE = '00000000-0000-4000-8000-000000000001';

/**
 * A request of the worker, with its size before it.
 * @param {number} id
 * @param {number} [method]  WORKER_DUMP unless told
 * @param {string} [handler]  whose request it is; the worker's own unless told
 * @param {string} [made]  the id of the router or observer that it makes
 * @returns {Buffer}
 */
export function request(id, method = Method.WORKER_DUMP, handler = '', made = MADE) {
  const builder = new Builder(256);
  const handlerId = builder.createString(handler);
  let [bodyType, body] = [RequestBody.NONE, 0];
  if (method === Method.WORKER_CREATE_ROUTER) {
    bodyType = RequestBody.Worker_CreateRouterRequest;
    body = new CreateRouterRequestT(made).pack(builder);
  } else if (method === Method.ROUTER_CREATE_ACTIVESPEAKEROBSERVER) {
    bodyType = RequestBody.Router_CreateActiveSpeakerObserverRequest;
    const options = new ActiveSpeakerObserverOptionsT(300);
    body = new CreateActiveSpeakerObserverRequestT(made, options).pack(builder);
  }
  const offset = Request.createRequest(builder, id, method, handlerId, bodyType, body);
  builder.finishSizePrefixed(Message.createMessage(builder, Body.Request, offset));
  return Buffer.from(builder.asUint8Array());
}

/**
 * A notification without a body, with its size before it.
 * @param {number} event
 * @param {string} handler  what it is about
 * @returns {Buffer}
 */
export function notification(event, handler) {
  const builder = new Builder(256);
  const handlerId = builder.createString(handler);
  const offset = Notification.createNotification(builder, handlerId, event, 0, 0);
  builder.finishSizePrefixed(Message.createMessage(builder, Body.Notification, offset));
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
