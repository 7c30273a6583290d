/** Which room this is, how many are in it and how media travels. */
import type { PathQuality } from '../call/quality.ts';
import { h } from './dom.ts';
import { icon } from './icons.ts';
import { copyLinkButton } from './invitation.ts';

export class TopBar {
  readonly element: HTMLElement;
  readonly #people = h('span', { class: 'count' }, '1');
  readonly #path = h('span', { class: 'path', hidden: true });

  constructor(room: string) {
    this.element = h(
      'header',
      { class: 'top-bar' },
      h('img', { src: '/icon.svg', alt: '', width: 28, height: 28 }),
      h('h1', {}, room),
      h('span', { class: 'people', title: 'People in this room' }, icon('people'), this.#people),
      h('span', { class: 'space' }),
      this.#path,
      copyLinkButton('plain copy', 'Copy link'),
    );
  }

  setPeople(count: number): void {
    this.#people.textContent = String(count);
  }

  setPath(path: PathQuality | null): void {
    this.#path.hidden = path === null;
    if (!path) return;
    const { protocol, roundTrip } = path;
    const time =
      roundTrip === null
        ? ''
        : ` · ${roundTrip < 10 ? roundTrip.toFixed(1) : Math.round(roundTrip)} ms`;
    this.#path.textContent = protocol.toUpperCase() + time;
    this.#path.title = `Media travels over ${protocol.toUpperCase()}; the time is there and back`;
  }
}
