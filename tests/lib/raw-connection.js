// The wire protocol by hand (media-pod/link), to say what a good relay never would.
import WebSocket from 'ws';
import { mediasoup } from './application.js';
import { scopeOf } from './scope.js';
import { event, until } from './until.js';

/** The close code after which nobody resumes. */
const CLOSE_FINAL = 4000;

/**
 * @typedef {object} RawOptions
 * @property {string} [token]
 * @property {string} [version]  the application's mediasoup version
 * @property {Record<string, string>} [headers]
 * @property {string} [path]  /v1/worker unless told
 */

/**
 * Opens `/v1/worker`, no further.
 * @param {import('./scope.js').Owner} owner
 * @param {{ webSocketUrl: string }} pod
 * @param {RawOptions} [options]
 * @returns {Promise<RawConnection>}
 * @throws {Refused}
 */
export async function openRaw(
  owner,
  pod,
  { token, version = mediasoup.version, headers = {}, path = '/v1/worker' } = {},
) {
  const socket = new WebSocket(`${pod.webSocketUrl}${path}`, {
    perMessageDeflate: false,
    headers: {
      'mafalda-mediasoup': version,
      'mafalda-protocol': '1',
      ...(token && { authorization: `Bearer ${token}` }),
      ...headers,
    },
  });
  scopeOf(owner).after(() => socket.terminate());
  const raw = new RawConnection(socket);
  await new Promise((resolve, reject) => {
    socket.once('open', resolve);
    socket.once('error', reject);
    socket.once('unexpected-response', async (_request, response) => {
      let body = '';
      for await (const text of response.setEncoding('utf8')) body += text;
      reject(new Refused(response.statusCode ?? 0, body));
    });
  });
  return raw;
}

/**
 * Opens it and gets a worker.
 * @param {import('./scope.js').Owner} owner
 * @param {{ webSocketUrl: string }} pod
 * @param {RawOptions} [options]
 */
export async function startRaw(owner, pod, options) {
  const raw = await openRaw(owner, pod, options);
  raw.hello({ start: { pid: process.pid, args: [], files: {} } });
  const welcome = await until('the pod answers', () => raw.texts[0] ?? raw.closed);
  if (typeof welcome !== 'string') throw new Error(`closed: ${JSON.stringify(welcome)}`);
  return Object.assign(raw, { welcome: JSON.parse(welcome) });
}

/** The pod's refusal, as HTTP has it. */
export class Refused extends Error {
  /**
   * @param {number} status
   * @param {string} body
   */
  constructor(status, body) {
    super(`${status} ${body}`);
    this.status = status;
    this.body = body;
  }

  get error() {
    return JSON.parse(this.body).error;
  }
}

export class RawConnection {
  /** @type {string[]} */
  texts = [];
  /** @type {Buffer[]} */
  frames = [];
  /** How the pod ended it. @type {{ code: number, reason: string } | undefined} */
  closed;

  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    socket.on('message', (data, isBinary) => {
      const bytes = /** @type {Buffer} */ (data);
      if (isBinary) this.frames.push(bytes);
      else this.texts.push(bytes.toString());
    });
    socket.on('close', (code, reason) => (this.closed = { code, reason: reason.toString() }));
    // A broken socket is a close with code 1006.
    socket.on('error', () => {});
  }

  /** What the worker wrote to its standard error, or the pod for it. */
  get stderr() {
    return Buffer.concat(this.#marked('02ffffff')).toString();
  }

  /** Whether the worker has ended. */
  get hasExited() {
    return this.#marked('05ffffff').length > 0;
  }

  /** @param {string} mark  hex */
  #marked(mark) {
    return this.frames
      .filter((frame) => frame.subarray(0, 4).toString('hex') === mark)
      .map((frame) => frame.subarray(4));
  }

  /** @param {unknown} value  sent as JSON */
  hello(value) {
    this.socket.send(JSON.stringify(value));
  }

  /** What a lending pod says of its members. @returns {any[]} */
  get notes() {
    return this.#marked('06ffffff').map((note) => JSON.parse(note.toString()));
  }

  /** @param {unknown} note  said of members, as a borrower does */
  note(note) {
    this.socket.send(
      Buffer.concat([Buffer.from('06ffffff', 'hex'), Buffer.from(JSON.stringify(note))]),
    );
  }

  /** Gives the worker up for good, as a relay does at its end. */
  giveUp() {
    this.socket.close(CLOSE_FINAL, 'the test is done');
    return this.isClosed();
  }

  /** Waits until the pod has closed it. */
  async isClosed({ within = 15_000 } = {}) {
    if (!this.closed) await event(this.socket, 'close', { within });
    return /** @type {{ code: number, reason: string }} */ (this.closed);
  }
}
