/** A round button that is on or off; its label says what a press does. */
import { h } from './dom.ts';
import { icon, type IconName } from './icons.ts';

export interface ToggleLook {
  icon: IconName;
  label: string;
}

export class Toggle {
  readonly element: HTMLButtonElement;
  readonly #looks: { on: ToggleLook; off: ToggleLook };

  constructor(name: string, looks: { on: ToggleLook; off: ToggleLook }, onPress: () => void) {
    this.#looks = looks;
    this.element = h('button', {
      type: 'button',
      class: `round ${name}`,
      'data-action': name,
      onclick: onPress,
    });
    this.set(false);
  }

  set(on: boolean): void {
    const look = on ? this.#looks.on : this.#looks.off;
    this.element.replaceChildren(icon(look.icon));
    this.element.title = look.label;
    this.element.setAttribute('aria-label', look.label);
    this.element.classList.toggle('on', on);
    this.element.classList.toggle('off', !on);
  }
}

export const microphoneLooks = {
  on: { icon: 'microphone', label: 'Mute microphone' },
  off: { icon: 'microphoneOff', label: 'Unmute microphone' },
} as const;

export const cameraLooks = {
  on: { icon: 'camera', label: 'Turn camera off' },
  off: { icon: 'cameraOff', label: 'Turn camera on' },
} as const;
