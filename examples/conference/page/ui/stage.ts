/**
 * Lays the tiles out: a grid as large as fits, or one tile large and the others in a strip.
 * Tells how large each tile is seen.
 */
import { h } from './dom.ts';
import { bestGrid } from './grid.ts';
import type { Tile } from './tile.ts';

const GAP = 12;

export class Stage {
  readonly element = h('main', { class: 'stage' });
  readonly #tiles = new Map<string, Tile>();
  readonly #large = h('div', { class: 'large' });
  readonly #others = h('div', { class: 'others' });
  readonly #onSeen: (key: string, width: number) => void;
  readonly #visibility: IntersectionObserver;
  readonly #hidden = new Set<string>();
  #enlarged: string | null = null;
  #companion: HTMLElement | null = null;

  /** `onSeen` gets the width of a tile in CSS pixels, 0 when it is out of sight. */
  constructor(onSeen: (key: string, width: number) => void) {
    this.#onSeen = onSeen;
    this.element.append(this.#large, this.#others);
    this.#visibility = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries) {
        const key = (target as HTMLElement).dataset['key'] ?? '';
        if (isIntersecting) this.#hidden.delete(key);
        else this.#hidden.add(key);
      }
      this.report();
    });
    new ResizeObserver(() => this.#layOut()).observe(this.element);
    document.addEventListener('visibilitychange', () => this.report());
  }

  get tiles(): Iterable<Tile> {
    return this.#tiles.values();
  }

  tile(key: string): Tile | undefined {
    return this.#tiles.get(key);
  }

  add(tile: Tile): void {
    this.#tiles.set(tile.key, tile);
    tile.element.dataset['key'] = tile.key;
    this.#visibility.observe(tile.element);
    this.#layOut();
  }

  remove(key: string): void {
    const tile = this.#tiles.get(key);
    if (!tile) return;
    this.#tiles.delete(key);
    this.#hidden.delete(key);
    this.#visibility.unobserve(tile.element);
    tile.element.remove();
    if (this.#enlarged === key) this.#enlarged = null;
    this.#layOut();
  }

  /** Something that takes a place beside the tiles, such as an invitation. */
  setCompanion(element: HTMLElement | null): void {
    if (element === this.#companion) return;
    this.#companion?.remove();
    this.#companion = element;
    this.#layOut();
  }

  toggleEnlarged(key: string): void {
    this.#enlarged = this.#large.dataset['key'] === key ? '' : key;
    this.#layOut();
  }

  /** Tells again how large each tile is seen. */
  report(): void {
    for (const { key, element } of this.#tiles.values()) {
      const seen = !document.hidden && !this.#hidden.has(key);
      this.#onSeen(key, seen ? element.clientWidth : 0);
    }
  }

  /** The tile to show large: the one that was asked for, else a shared screen. */
  #largeTile(): Tile | undefined {
    if (this.#enlarged !== null) return this.#tiles.get(this.#enlarged);
    return [...this.#tiles.values()].find((tile) => tile.screen);
  }

  #layOut(): void {
    const large = this.#largeTile();
    const others = [...this.#tiles.values()].filter((tile) => tile !== large);
    this.element.classList.toggle('focused', large !== undefined);
    this.#large.dataset['key'] = large?.key ?? '';
    place(this.#large, large ? [large.element] : []);
    const elements = others.map(({ element }) => element);
    if (this.#companion) elements.push(this.#companion);
    place(this.#others, elements);
    for (const tile of this.#tiles.values()) tile.setEnlarged(tile === large);
    const { clientWidth, clientHeight } = this.#others;
    const width = bestGrid(elements.length, clientWidth, clientHeight, GAP);
    this.#others.style.setProperty('--tile-width', `${width}px`);
    this.report();
  }
}

/** Puts the elements into the parent in this order; a video that stays where it is plays on. */
function place(parent: HTMLElement, elements: HTMLElement[]): void {
  for (const child of [...parent.children]) {
    if (!elements.includes(child as HTMLElement)) child.remove();
  }
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) {
      parent.insertBefore(element, parent.children[index] ?? null);
    }
  });
}
