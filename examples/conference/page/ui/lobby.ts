/** Before the room: a look at oneself, a name, and in. */
import { limits } from '../../shared/protocol.ts';
import type { LocalMedia } from '../call/local-media.ts';
import { h } from './dom.ts';
import { cameraLooks, microphoneLooks, Toggle } from './toggle.ts';

export interface LobbyOptions {
  room: string;
  name: string;
  media: LocalMedia;
  /** Shown at first, such as why the room was left. */
  notice: string | null;
  onJoin: (choice: { room: string; name: string }) => void;
}

export class Lobby {
  readonly element: HTMLElement;
  readonly #media: LocalMedia;
  readonly #preview = h('video', { autoplay: true, playsinline: true, 'aria-label': 'You' });
  readonly #notice = h('p', { class: 'notice', role: 'alert' });
  readonly #microphone: Toggle;
  readonly #camera: Toggle;
  readonly #unlisten: () => void;

  constructor({ room, name, media, notice, onJoin }: LobbyOptions) {
    this.#media = media;
    this.#preview.muted = true;
    this.#microphone = new Toggle('microphone', microphoneLooks, () => this.#toggleMicrophone());
    this.#camera = new Toggle('camera', cameraLooks, () => this.#toggleCamera());
    this.#unlisten = media.on('changed', () => this.#show());
    const nameField = field('name', 'Your name', name, limits.peerName);
    const roomField = field('room', 'Room', room, limits.roomName);
    const join = (event: Event) => {
      event.preventDefault();
      onJoin({ name: nameField.input.value.trim(), room: roomField.input.value.trim() });
    };
    this.element = h(
      'main',
      { class: 'lobby' },
      h(
        'section',
        { class: 'preview' },
        this.#preview,
        h('p', { class: 'camera-off' }, 'Your camera is off'),
        h('div', { class: 'controls' }, this.#microphone.element, this.#camera.element),
      ),
      h(
        'form',
        { onsubmit: join },
        h('img', { src: '/icon.svg', alt: '', width: 48, height: 48 }),
        h('h1', {}, 'Join the conference'),
        h('p', { class: 'lead' }, 'Everyone with the link of a room can join it.'),
        nameField.label,
        roomField.label,
        this.#notice,
        h('button', { class: 'primary' }, 'Join'),
      ),
    );
    this.#tell(notice);
    this.#show();
    void this.#open();
  }

  /** Ends the lobby; the tracks stay open for the room. */
  close(): void {
    this.#unlisten();
    this.#preview.srcObject = null;
    this.element.remove();
  }

  async #open(): Promise<void> {
    if (!('mediaDevices' in navigator)) {
      return this.#tell('Browsers give camera and microphone to https pages and localhost only.');
    }
    await this.#try(() => this.#media.open());
  }

  #toggleMicrophone(): void {
    if (this.#media.track('microphone')) this.#media.setMuted(!this.#media.muted);
    else void this.#try(() => this.#media.openMicrophone());
  }

  #toggleCamera(): void {
    if (this.#media.track('camera')) this.#media.close('camera');
    else void this.#try(() => this.#media.openCamera());
  }

  async #try(open: () => Promise<void>): Promise<void> {
    try {
      await open();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#tell(`No camera or microphone (${reason}). You can join and watch.`);
    }
  }

  #tell(text: string | null): void {
    this.#notice.textContent = text;
    this.#notice.hidden = text === null;
  }

  #show(): void {
    const camera = this.#media.track('camera');
    this.#preview.srcObject = camera ? new MediaStream([camera]) : null;
    this.#preview.hidden = camera === null;
    this.#microphone.set(!this.#media.muted);
    this.#camera.set(camera !== null);
  }
}

function field(name: string, text: string, value: string, maxlength: number) {
  const input = h('input', { name, value, maxlength, required: true, autocomplete: 'off' });
  return { input, label: h('label', {}, h('span', {}, text), input) };
}
