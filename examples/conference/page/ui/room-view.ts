/** The room on the screen: shows what the conference tells, and does what the buttons say. */
import type { Source } from '../../shared/protocol.ts';
import { Conference } from '../call/conference.ts';
import type { LocalMedia } from '../call/local-media.ts';
import type { RemotePeer } from '../call/peer.ts';
import type { Session, SessionOptions } from '../call/session.ts';
import { ChatPanel } from './chat-panel.ts';
import { h } from './dom.ts';
import { invitation } from './invitation.ts';
import { QualityReport } from './quality-report.ts';
import { Sound } from './sound.ts';
import { Stage } from './stage.ts';
import { Tile } from './tile.ts';
import { Toasts } from './toasts.ts';
import { Toolbar } from './toolbar.ts';
import { TopBar } from './top-bar.ts';

/** The key of this person's own tiles. */
const OWN = 'own';
/** dBov: where the level of a voice begins and ends on the screen. */
const QUIET = -60;
const LOUD = -15;

export class RoomView {
  readonly element: HTMLElement;
  readonly #name: string;
  readonly #media: LocalMedia;
  readonly #conference: Conference;
  readonly #stage = new Stage((key, width) => this.#seen(key, width));
  readonly #sound = new Sound();
  readonly #toasts = new Toasts();
  readonly #topBar: TopBar;
  readonly #toolbar: Toolbar;
  readonly #chat: ChatPanel;
  readonly #report: QualityReport;
  readonly #onLeave: (notice: string | null) => void;
  #invitation: HTMLElement | null = null;
  #unread = 0;

  /** `onLeave` gets the reason when it was not the person's own wish. */
  constructor(
    options: SessionOptions,
    media: LocalMedia,
    onLeave: (notice: string | null) => void,
  ) {
    this.#name = options.name;
    this.#media = media;
    this.#onLeave = onLeave;
    this.#conference = new Conference(options, media);
    this.#topBar = new TopBar(options.room);
    this.#toolbar = new Toolbar({
      microphone: () => void this.#toggle('microphone'),
      camera: () => void this.#toggle('camera'),
      screen: () => void this.#toggle('screen'),
      chat: () => this.#openChat(!this.#chat.open),
      leave: () => this.#leave(null),
    });
    this.#chat = new ChatPanel(
      (text) => this.#say(text),
      () => this.#openChat(false),
    );
    this.#report = new QualityReport(this.#conference, this.#topBar, (key) =>
      this.#stage.tile(key),
    );
    this.element = h(
      'div',
      { class: 'room' },
      this.#topBar.element,
      h('div', { class: 'body' }, this.#stage.element, this.#chat.element),
      this.#toolbar.element,
      this.#toasts.element,
      this.#sound.element,
    );
    this.#listen();
    this.#addTile(OWN, `${this.#name} (you)`, { own: true, screen: false });
    for (const source of ['microphone', 'camera', 'screen'] as const) this.#showOwn(source);
    void this.#conference.join();
  }

  #listen(): void {
    const conference = this.#conference;
    this.#media.on('changed', (source) => this.#showOwn(source));
    conference.on('session', (session) => this.#follow(session));
    conference.on('joined', () => {
      this.#toasts.setBanner(null);
      this.#showPeople();
    });
    conference.on('interrupted', ({ reason }) => {
      this.#clear();
      this.#toasts.setBanner(`Reconnecting: ${reason}`);
    });
    conference.on('refused', ({ reason }) => this.#leave(reason));
  }

  #follow(session: Session): void {
    session.on('peerJoined', (peer) => {
      // Nothing is heard of them before their microphone is there.
      this.#addTile(peer.id, peer.name, { own: false, screen: false }).setMuted(true);
      if (this.#conference.session) this.#toasts.show(`${peer.name} joined`);
      this.#showPeople();
    });
    session.on('peerLeft', (peer) => {
      this.#removePeer(peer);
      this.#toasts.show(`${peer.name} left`);
      this.#showPeople();
    });
    session.on('mediaChanged', ({ peer, source }) => this.#showMedia(peer, source));
    session.on('speaking', (speaking) => {
      const levels = new Map(speaking.map(({ peerId, volume }) => [peerId, levelOf(volume)]));
      for (const tile of this.#stage.tiles) {
        if (!tile.screen) tile.setLevel(levels.get(peerOf(tile.key, session)) ?? 0);
      }
    });
    session.on('activeSpeaker', ({ peerId }) => {
      for (const tile of this.#stage.tiles) {
        if (!tile.screen) tile.setActive(peerOf(tile.key, session) === peerId);
      }
    });
    session.on('ownScore', ({ source, score }) => {
      if (source !== 'microphone') this.#stage.tile(tileKey(OWN, source))?.setScore(score);
    });
    session.on('chat', (message) => {
      this.#chat.add(message);
      if (!this.#chat.open) this.#toolbar.setUnread(++this.#unread);
    });
  }

  #addTile(key: string, name: string, { own, screen }: { own: boolean; screen: boolean }): Tile {
    const onEnlarge = () => this.#stage.toggleEnlarged(key);
    const tile = new Tile({ key, name, own, screen, onEnlarge });
    this.#stage.add(tile);
    return tile;
  }

  /** A screen has a tile as long as it is shared. */
  #screenTile(owner: string, name: string, shared: boolean): Tile | undefined {
    const key = tileKey(owner, 'screen');
    if (!shared) this.#stage.remove(key);
    const tile = this.#stage.tile(key);
    if (tile || !shared) return tile;
    return this.#addTile(key, name, { own: owner === OWN, screen: true });
  }

  #showMedia(peer: RemotePeer, source: Source): void {
    const media = peer.media.get(source);
    const track = media?.consumer?.track ?? null;
    if (source === 'microphone') {
      this.#sound.play(peer.id, track);
      this.#stage.tile(peer.id)?.setMuted(media?.paused ?? true);
      return;
    }
    const tile =
      source === 'screen'
        ? this.#screenTile(peer.id, `${peer.name}’s screen`, media !== undefined)
        : this.#stage.tile(peer.id);
    tile?.setVideo(media?.paused ? null : track);
    tile?.setScore(media?.score ?? null);
    if (!media) tile?.setDetails(null);
    this.#stage.report();
  }

  #showOwn(source: Source): void {
    const track = this.#media.track(source);
    if (source === 'microphone') {
      this.#stage.tile(OWN)?.setMuted(this.#media.muted);
    } else {
      const tile =
        source === 'screen'
          ? this.#screenTile(OWN, 'Your screen', track !== null)
          : this.#stage.tile(OWN);
      tile?.setVideo(track);
      if (!track) tile?.setScore(null);
      if (!track) tile?.setDetails(null);
    }
    this.#showButtons();
  }

  #showButtons(): void {
    this.#toolbar.show({
      microphone: !this.#media.muted,
      camera: this.#media.track('camera') !== null,
      screen: this.#media.track('screen') !== null,
      chat: this.#chat.open,
    });
  }

  #showPeople(): void {
    const session = this.#conference.session;
    const others = session?.peers.size ?? 0;
    this.#topBar.setPeople(others + 1);
    if (!session || others > 0) this.#invitation = null;
    else this.#invitation ??= invitation();
    this.#stage.setCompanion(this.#invitation);
  }

  #removePeer(peer: RemotePeer): void {
    this.#sound.play(peer.id, null);
    this.#stage.remove(peer.id);
    this.#stage.remove(tileKey(peer.id, 'screen'));
  }

  /** Takes everyone else off the stage. */
  #clear(): void {
    this.#sound.stop();
    for (const { key } of [...this.#stage.tiles]) {
      if (key !== OWN && key !== tileKey(OWN, 'screen')) this.#stage.remove(key);
    }
    this.#showPeople();
  }

  #seen(key: string, width: number): void {
    const session = this.#conference.session;
    const [peerId = '', screen] = key.split('/');
    const media = session?.peers.get(peerId)?.media.get(screen ? 'screen' : 'camera');
    if (session && media?.consumer) session.watching.see(media.consumer, width);
  }

  async #toggle(source: Source): Promise<void> {
    const media = this.#media;
    try {
      if (source === 'microphone' && media.track(source)) media.setMuted(!media.muted);
      else if (media.track(source)) media.close(source);
      else if (source === 'microphone') await media.openMicrophone();
      else if (source === 'camera') await media.openCamera();
      else await media.openScreen();
    } catch (error) {
      // Closing the browser's own choice of a screen is a refusal, too: nothing to complain of.
      const dismissed = source === 'screen' && (error as Error).name === 'NotAllowedError';
      if (!dismissed) this.#toasts.show(`No ${source}: ${(error as Error).message}`);
    }
  }

  #openChat(open: boolean): void {
    this.#chat.setOpen(open);
    this.#unread = 0;
    this.#toolbar.setUnread(0);
    this.#showButtons();
  }

  async #say(text: string): Promise<void> {
    const session = this.#conference.session;
    if (!session) throw new Error('You are not connected at the moment.');
    await session.say(text);
  }

  #leave(notice: string | null): void {
    this.#conference.leave();
    this.#report.stop();
    this.#sound.stop();
    this.element.remove();
    this.#onLeave(notice);
  }
}

function tileKey(owner: string, source: Source): string {
  return source === 'screen' ? `${owner}/screen` : owner;
}

/** The server knows this person by an id that changes with the session. */
function peerOf(key: string, session: Session): string {
  return key === OWN ? session.peerId : key;
}

function levelOf(volume: number): number {
  return Math.min(1, Math.max(0.05, (volume - QUIET) / (LOUD - QUIET)));
}
