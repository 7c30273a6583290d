/** What somebody sees who is alone in a room. */
import { h } from './dom.ts';
import { icon } from './icons.ts';

const CONFIRMED_MS = 2000;

export function invitation(): HTMLElement {
  return h(
    'section',
    { class: 'invitation' },
    icon('people'),
    h('h2', {}, 'You are alone here'),
    h('p', {}, 'Send this link to those you are waiting for.'),
    copyLinkButton('primary', 'Copy link'),
  );
}

export function copyLinkButton(look: string, label: string): HTMLButtonElement {
  const text = h('span', {}, label);
  const symbol = h('span', { class: 'symbol' }, icon('link'));
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      text.textContent = 'Link copied';
      symbol.replaceChildren(icon('check'));
    } catch {
      // Without the right to use the clipboard the link can still be taken from here.
      window.prompt('The link of this room:', location.href);
    }
    setTimeout(() => {
      text.textContent = label;
      symbol.replaceChildren(icon('link'));
    }, CONFIRMED_MS);
  };
  return h('button', { type: 'button', class: look, onclick: () => void copy() }, symbol, text);
}
