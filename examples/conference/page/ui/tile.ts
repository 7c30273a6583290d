/** One picture on the stage: video or avatar, name, microphone, how well it arrives. */
import type { TrackQuality } from '../call/quality.ts';
import { avatar } from './avatar.ts';
import { h } from './dom.ts';
import { icon } from './icons.ts';

export interface TileOptions {
  /** Names the tile on the stage. */
  key: string;
  name: string;
  /** A shared screen: shown whole, without an avatar. */
  screen: boolean;
  own: boolean;
  onEnlarge: () => void;
}

export class Tile {
  readonly key: string;
  readonly screen: boolean;
  readonly element: HTMLElement;
  readonly #video: HTMLVideoElement;
  readonly #microphone = h('span', { class: 'muted', title: 'Microphone is off' });
  readonly #quality = h('span', { class: 'quality' });
  readonly #details = h('span', { class: 'details' });
  readonly #enlarge: HTMLButtonElement;

  constructor({ key, name, screen, own, onEnlarge }: TileOptions) {
    this.key = key;
    this.screen = screen;
    this.#video = h('video', { autoplay: true, playsinline: true });
    // Sound has an element of its own (see sound.ts); a muted video may always play.
    this.#video.muted = true;
    this.#enlarge = h('button', { type: 'button', class: 'enlarge', onclick: onEnlarge });
    this.#microphone.append(icon('microphoneOff'));
    this.#quality.append(h('i'), h('i'), h('i'));
    this.element = h(
      'article',
      { class: `tile${screen ? ' screen' : ''}${own ? ' own' : ''}`, 'aria-label': name },
      screen ? null : avatar(name),
      this.#video,
      h('div', { class: 'badge' }, this.#microphone, h('span', { class: 'name' }, name)),
      h('div', { class: 'report' }, this.#details, this.#quality),
      this.#enlarge,
    );
    this.setVideo(null);
    this.setMuted(false);
    this.setScore(null);
    this.setEnlarged(false);
  }

  setVideo(track: MediaStreamTrack | null): void {
    const shown = this.#video.srcObject instanceof MediaStream ? this.#video.srcObject : null;
    if (shown?.getVideoTracks()[0] !== (track ?? undefined)) {
      this.#video.srcObject = track ? new MediaStream([track]) : null;
    }
    this.element.classList.toggle('with-video', track !== null);
  }

  setMuted(muted: boolean): void {
    this.#microphone.hidden = !muted;
  }

  /** 0 is silence, 1 as loud as it gets. */
  setLevel(level: number): void {
    this.element.classList.toggle('speaking', level > 0);
    this.element.style.setProperty('--level', level.toFixed(2));
  }

  setActive(active: boolean): void {
    this.element.classList.toggle('active', active);
  }

  /** 0 to 10; null while nothing is known. */
  setScore(score: number | null): void {
    const bars = score === null ? 0 : score >= 8 ? 3 : score >= 4 ? 2 : 1;
    this.#quality.dataset['bars'] = String(bars);
    this.#quality.hidden = score === null;
    this.#quality.title = score === null ? '' : `Connection quality ${score} of 10`;
    this.#quality.setAttribute('aria-label', this.#quality.title);
  }

  setDetails(quality: TrackQuality | null): void {
    this.#details.textContent = quality ? describe(quality) : '';
  }

  setEnlarged(enlarged: boolean): void {
    const label = enlarged ? 'Back to all' : 'Enlarge';
    this.#enlarge.replaceChildren(icon(enlarged ? 'shrink' : 'enlarge'));
    this.#enlarge.title = label;
    this.#enlarge.setAttribute('aria-label', label);
    this.#enlarge.setAttribute('aria-pressed', String(enlarged));
  }
}

function describe({ width, height, framesPerSecond, bitrate, loss }: TrackQuality): string {
  const parts = [];
  if (width && height) parts.push(`${width}×${height}`);
  if (framesPerSecond) parts.push(`${Math.round(framesPerSecond)} fps`);
  parts.push(bitrateText(bitrate));
  if (loss >= 0.001) parts.push(`${(loss * 100).toFixed(1)} % lost`);
  return parts.join(' · ');
}

function bitrateText(bitrate: number): string {
  return bitrate >= 1e6
    ? `${(bitrate / 1e6).toFixed(1)} Mbit/s`
    : `${Math.round(bitrate / 1e3)} kbit/s`;
}
