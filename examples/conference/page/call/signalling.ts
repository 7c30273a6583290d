/** The WebSocket to the server: requests with their answers, and events. One connection's life. */
import type {
  Answer,
  ErrorCode,
  Event,
  Events,
  Method,
  Request,
  Requests,
} from '../../shared/protocol.ts';
import { Emitter } from '../emitter.ts';

const ANSWER_TIMEOUT_MS = 45_000;

/** The server's refusal of a request, or that it cannot be reached ('unavailable'). */
export class RefusedError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

interface Pending {
  resolve: (data: never) => void;
  reject: (error: Error) => void;
  timer: number;
}

export class Signalling extends Emitter<Events & { close: null }> {
  readonly #socket: WebSocket;
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  static open(): Promise<Signalling> {
    const url = new URL('/ws', location.href.replace(/^http/, 'ws'));
    const socket = new WebSocket(url);
    return new Promise((resolve, reject) => {
      socket.onopen = () => resolve(new Signalling(socket));
      socket.onclose = () => reject(new RefusedError('unavailable', 'cannot reach the server'));
    });
  }

  private constructor(socket: WebSocket) {
    super();
    this.#socket = socket;
    socket.onmessage = ({ data }) => this.#receive(JSON.parse(String(data)) as Answer | Event);
    socket.onclose = () => this.#closed();
  }

  request<M extends Method>(method: M, data: Requests[M]['data']): Promise<Requests[M]['answer']> {
    const id = ++this.#lastId;
    const request: Request<M> = { id, method, data };
    return new Promise((resolve, reject) => {
      if (this.#socket.readyState !== WebSocket.OPEN) return reject(closedError());
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new RefusedError('unavailable', `no answer to ${method}`));
      }, ANSWER_TIMEOUT_MS);
      this.#pending.set(id, { resolve, reject, timer });
      this.#socket.send(JSON.stringify(request));
    });
  }

  close(): void {
    this.#socket.close();
  }

  #receive(message: Answer | Event): void {
    if ('event' in message) return this.emit(message.event, message.data);
    const pending = message.id === null ? undefined : this.#pending.get(message.id);
    if (!pending || message.id === null) return;
    this.#pending.delete(message.id);
    clearTimeout(pending.timer);
    if (message.ok) pending.resolve(message.data as never);
    else pending.reject(new RefusedError(message.error.code, message.error.message));
  }

  #closed(): void {
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(closedError());
    }
    this.#pending.clear();
    this.emit('close', null);
  }
}

function closedError(): RefusedError {
  return new RefusedError('unavailable', 'the connection to the server is closed');
}
