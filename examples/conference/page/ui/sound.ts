/** Plays the others' microphones. */
import { h } from './dom.ts';

export class Sound {
  readonly element = h('div', { hidden: true });
  readonly #players = new Map<string, HTMLAudioElement>();

  play(peerId: string, track: MediaStreamTrack | null): void {
    const player = this.#players.get(peerId);
    if (!track) {
      player?.remove();
      this.#players.delete(peerId);
    } else if (player) {
      const stream = player.srcObject;
      if (stream instanceof MediaStream && stream.getTracks()[0] === track) return;
      player.srcObject = new MediaStream([track]);
    } else {
      const fresh = h('audio', { autoplay: true });
      fresh.srcObject = new MediaStream([track]);
      this.#players.set(peerId, fresh);
      this.element.append(fresh);
    }
  }

  stop(): void {
    for (const peerId of [...this.#players.keys()]) this.play(peerId, null);
  }
}
