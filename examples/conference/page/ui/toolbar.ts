/** The buttons at the bottom of the room. */
import { h } from './dom.ts';
import { cameraLooks, microphoneLooks, Toggle } from './toggle.ts';

export interface ToolbarActions {
  microphone(): void;
  camera(): void;
  screen(): void;
  chat(): void;
  leave(): void;
}

export class Toolbar {
  readonly element: HTMLElement;
  readonly #microphone: Toggle;
  readonly #camera: Toggle;
  readonly #screen: Toggle;
  readonly #chat: Toggle;

  constructor(actions: ToolbarActions) {
    this.#microphone = new Toggle('microphone', microphoneLooks, () => actions.microphone());
    this.#camera = new Toggle('camera', cameraLooks, () => actions.camera());
    this.#screen = new Toggle(
      'screen',
      {
        on: { icon: 'screen', label: 'Stop sharing the screen' },
        off: { icon: 'screen', label: 'Share the screen' },
      },
      () => actions.screen(),
    );
    this.#chat = new Toggle(
      'chat-toggle',
      { on: { icon: 'chat', label: 'Close chat' }, off: { icon: 'chat', label: 'Open chat' } },
      () => actions.chat(),
    );
    const leaveLook = { icon: 'leave', label: 'Leave' } as const;
    const leave = new Toggle('leave', { on: leaveLook, off: leaveLook }, () => actions.leave());
    this.element = h(
      'nav',
      { class: 'toolbar', 'aria-label': 'Call' },
      this.#microphone.element,
      this.#camera.element,
      // Phones cannot share their screen.
      canShareScreen() ? this.#screen.element : null,
      this.#chat.element,
      leave.element,
    );
  }

  show(state: { microphone: boolean; camera: boolean; screen: boolean; chat: boolean }): void {
    this.#microphone.set(state.microphone);
    this.#camera.set(state.camera);
    this.#screen.set(state.screen);
    this.#chat.set(state.chat);
  }

  /** How many messages have not been seen. */
  setUnread(count: number): void {
    if (count > 0) this.#chat.element.dataset['unread'] = String(count);
    else delete this.#chat.element.dataset['unread'];
  }
}

/** Pages without https have no media devices at all. */
function canShareScreen(): boolean {
  return 'mediaDevices' in navigator && 'getDisplayMedia' in navigator.mediaDevices;
}
