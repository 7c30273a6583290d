/** Text messages over data channels: each peer has one to the server, which passes it to the others. */
import type { types as mediasoup } from 'mediasoup-client';

import type { RemotePeer } from './peer.ts';
import type { Signalling } from './signalling.ts';

export interface ChatMessage {
  from: string;
  text: string;
  own: boolean;
}

export class Chat {
  readonly #signalling: Signalling;
  readonly #send: mediasoup.Transport;
  readonly #recv: mediasoup.Transport;
  readonly #onMessage: (message: ChatMessage) => void;
  #channel: Promise<mediasoup.DataProducer> | null = null;

  constructor(
    signalling: Signalling,
    send: mediasoup.Transport,
    recv: mediasoup.Transport,
    onMessage: (message: ChatMessage) => void,
  ) {
    this.#signalling = signalling;
    this.#send = send;
    this.#recv = recv;
    this.#onMessage = onMessage;
  }

  /** Opens our channel, so that the others can follow it before anything is said. */
  open(): void {
    this.#channel = this.#send.produceData({ ordered: true, label: 'chat' });
    this.#channel.catch((error: unknown) => console.warn('cannot open the chat:', error));
  }

  /** Throws when the chat is not open. */
  async say(text: string): Promise<void> {
    const channel = await this.#channel;
    if (channel?.readyState !== 'open') throw new Error('the chat is not connected yet');
    channel.send(text);
    this.#onMessage({ from: 'You', text, own: true });
  }

  async follow(peer: RemotePeer, chatId: string): Promise<void> {
    try {
      const parameters = await this.#signalling.request('followChat', { chatId });
      const consumer = await this.#recv.consumeData({ ...parameters, dataProducerId: chatId });
      consumer.on('message', (text) => {
        if (typeof text === 'string') this.#onMessage({ from: peer.name, text, own: false });
      });
    } catch (error) {
      console.warn(`cannot follow the chat of ${peer.name}:`, error);
    }
  }
}
