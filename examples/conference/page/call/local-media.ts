/** This person's microphone, camera and screen. */
import type { Source } from '../../shared/protocol.ts';
import { Emitter } from '../emitter.ts';

const CAMERA: MediaTrackConstraints = {
  width: { ideal: 1280 },
  height: { ideal: 720 },
  frameRate: { ideal: 30 },
};
const MICROPHONE: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
};

export class LocalMedia extends Emitter<{ changed: Source }> {
  readonly #tracks = new Map<Source, MediaStreamTrack>();
  #muted = false;

  get muted(): boolean {
    return this.#muted || !this.#tracks.has('microphone');
  }

  track(source: Source): MediaStreamTrack | null {
    return this.#tracks.get(source) ?? null;
  }

  sources(): Source[] {
    return [...this.#tracks.keys()];
  }

  /** Opens what the browser gives of camera and microphone; throws when it gives neither. */
  async open(): Promise<void> {
    try {
      await this.#open({ audio: MICROPHONE, video: CAMERA });
    } catch {
      // One of the two may be missing or refused: take the other.
      const opened = await Promise.allSettled([this.openMicrophone(), this.openCamera()]);
      const refused = opened.filter((result) => result.status === 'rejected');
      if (refused.length === opened.length) throw refused[0]?.reason;
    }
  }

  openMicrophone(): Promise<void> {
    return this.#open({ audio: MICROPHONE });
  }

  openCamera(): Promise<void> {
    return this.#open({ video: CAMERA });
  }

  async openScreen(): Promise<void> {
    const stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: 15 } });
    for (const track of stream.getVideoTracks()) this.#keep('screen', track);
  }

  setMuted(muted: boolean): void {
    this.#muted = muted;
    const track = this.#tracks.get('microphone');
    if (track) track.enabled = !muted;
    this.emit('changed', 'microphone');
  }

  close(source: Source): void {
    const track = this.#tracks.get(source);
    if (!track) return;
    this.#tracks.delete(source);
    track.stop();
    this.emit('changed', source);
  }

  closeAll(): void {
    for (const source of this.sources()) this.close(source);
  }

  async #open(constraints: MediaStreamConstraints): Promise<void> {
    const stream = await navigator.mediaDevices.getUserMedia(constraints);
    for (const track of stream.getTracks()) {
      this.#keep(track.kind === 'audio' ? 'microphone' : 'camera', track);
    }
  }

  #keep(source: Source, track: MediaStreamTrack): void {
    this.#tracks.get(source)?.stop();
    this.#tracks.set(source, track);
    if (source === 'microphone') track.enabled = !this.#muted;
    // The person pulled the plug, or pressed the browser's own 'stop sharing'.
    track.addEventListener('ended', () => {
      if (this.#tracks.get(source) === track) this.close(source);
    });
    this.emit('changed', source);
  }
}
