/** The chat: messages and a line to write. */
import { limits } from '../../shared/protocol.ts';
import type { ChatMessage } from '../call/chat.ts';
import { h } from './dom.ts';
import { icon } from './icons.ts';

export class ChatPanel {
  readonly element: HTMLElement;
  readonly #list = h('ol', { class: 'messages', 'aria-live': 'polite' });
  readonly #input: HTMLInputElement;
  readonly #say: (text: string) => Promise<void>;

  /** `say` throws when the message cannot be sent; it then stays in the line. */
  constructor(say: (text: string) => Promise<void>, onClose: () => void) {
    this.#say = say;
    this.#input = h('input', {
      name: 'message',
      placeholder: 'Write to everyone',
      'aria-label': 'Message',
      autocomplete: 'off',
      maxlength: limits.chatMessage,
    });
    this.element = h(
      'aside',
      { class: 'chat', 'aria-label': 'Chat', hidden: true },
      h(
        'header',
        {},
        h('h2', {}, 'Chat'),
        h(
          'button',
          { type: 'button', class: 'plain', 'aria-label': 'Close chat', onclick: onClose },
          icon('close'),
        ),
      ),
      this.#list,
      h(
        'form',
        { onsubmit: (event) => this.#submit(event) },
        this.#input,
        h('button', { class: 'plain send', 'aria-label': 'Send' }, icon('send')),
      ),
    );
  }

  get open(): boolean {
    return !this.element.hidden;
  }

  setOpen(open: boolean): void {
    this.element.hidden = !open;
    if (open) this.#input.focus();
  }

  add({ from, text, own }: ChatMessage): void {
    this.#list.append(
      h(
        'li',
        { class: own ? 'own' : '' },
        h('span', { class: 'from' }, from),
        h('span', { class: 'text' }, text),
      ),
    );
    this.#list.scrollTop = this.#list.scrollHeight;
  }

  #submit(event: Event): void {
    event.preventDefault();
    const text = this.#input.value.trim();
    if (!text) return;
    this.#say(text).then(
      () => (this.#input.value = ''),
      (error: unknown) => {
        this.#input.setCustomValidity(error instanceof Error ? error.message : String(error));
        this.#input.reportValidity();
        this.#input.setCustomValidity('');
      },
    );
  }
}
