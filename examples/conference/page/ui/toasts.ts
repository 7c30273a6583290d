/** Short messages that go by themselves, and one that stays while something is wrong. */
import { h } from './dom.ts';

const SHOWN_MS = 4000;

export class Toasts {
  readonly element = h('div', { class: 'toasts', role: 'status', 'aria-live': 'polite' });
  #banner: HTMLElement | null = null;

  show(text: string): void {
    const toast = h('div', { class: 'toast' }, text);
    this.element.append(toast);
    setTimeout(() => toast.remove(), SHOWN_MS);
  }

  /** null takes it away. */
  setBanner(text: string | null): void {
    this.#banner?.remove();
    this.#banner = text === null ? null : h('div', { class: 'toast banner' }, text);
    if (this.#banner) this.element.prepend(this.#banner);
  }
}
