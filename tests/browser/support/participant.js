// Somebody in a conference: presses the buttons, and tells what arrives.
import { until } from '../../lib/until.js';
import { readStats } from './page-stats.js';

/** Waiting for browsers on a busy machine, milliseconds. */
const PATIENCE = 60_000;

export class Participant {
  /** Errors of the page that nobody caught. */
  errors = [];

  /**
   * @param {string} name
   * @param {import('playwright-core').Page} page
   */
  constructor(name, page) {
    this.name = name;
    this.page = page;
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', (error) => this.errors.push(error));
  }

  /** @param {string} label  of the button, as a screen reader says it */
  press(label) {
    return this.page.getByRole('button', { name: label, exact: true }).click();
  }

  /** @param {string} label  the name on it */
  tile(label) {
    return this.page.getByRole('article', { name: label, exact: true });
  }

  /** @returns {Promise<import('./page-stats.js').Report>} */
  stats() {
    return this.page.evaluate(readStats);
  }

  /** What has been received so far, of all that is being received now. */
  async received() {
    const { inbound } = await this.stats();
    const [video, audio] = ['video', 'audio'].map((kind) => inbound.filter((s) => s.kind === kind));
    return {
      framesDecoded: sum(video, 'framesDecoded'),
      audioEnergy: sum(audio, 'totalAudioEnergy'),
      videoWidth: Math.max(0, ...video.map((s) => s.frameWidth ?? 0)),
    };
  }

  /** Waits until more pictures and more sound have been decoded than now. */
  async seesAndHears() {
    const before = await this.received();
    return until(
      `${this.name} sees and hears`,
      async () => {
        const now = await this.received();
        const more =
          now.framesDecoded >= before.framesDecoded + 10 && now.audioEnergy > before.audioEnergy;
        return more && now;
      },
      { within: PATIENCE, every: 200 },
    );
  }

  /** @param {string} text */
  async say(text) {
    const line = this.page.getByLabel('Message');
    if (!(await line.isVisible())) await this.press('Open chat');
    await line.fill(text);
    await line.press('Enter');
  }

  /** @param {string} from @param {string} text */
  reads(from, text) {
    const message = this.page.locator('.messages li', { hasText: from }).getByText(text);
    return message.waitFor({ state: 'attached' });
  }

  leave() {
    return this.page.context().close();
  }
}

/** @param {any[]} stats @param {string} field */
function sum(stats, field) {
  return stats.reduce((total, stat) => total + (stat[field] ?? 0), 0);
}
