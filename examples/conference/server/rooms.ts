/** The rooms by name: made when the first one enters, gone with the last. */
import type { types as mediasoup } from 'mediasoup';

import type { Event } from '../shared/protocol.ts';
import type { Peer } from './peer.ts';
import { Room } from './room.ts';
import type { Workers } from './workers.ts';

export class Rooms {
  readonly #workers: Workers;
  readonly #listenInfos: mediasoup.TransportListenInfo[];
  readonly #rooms = new Map<string, Promise<Room>>();

  constructor(workers: Workers, listenInfos: mediasoup.TransportListenInfo[]) {
    this.#workers = workers;
    this.#listenInfos = listenInfos;
  }

  async enter(name: string, send: (event: Event) => void): Promise<Peer> {
    for (;;) {
      const room = await (this.#rooms.get(name) ?? this.#create(name));
      // It may have closed between its creation and now.
      if (!room.closed) return room.enter(send);
      this.#rooms.delete(name);
    }
  }

  #create(name: string): Promise<Room> {
    const forget = () => {
      if (this.#rooms.get(name) === creation) this.#rooms.delete(name);
    };
    const creation = Room.create(this.#workers, this.#listenInfos, forget);
    this.#rooms.set(name, creation);
    creation.catch(forget);
    return creation;
  }
}
