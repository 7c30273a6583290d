// One ordinary application: it comes, holds a call in which people come and go, and leaves; when its
// worker dies it makes another and begins again.
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import * as mediasoup from 'mediasoup';
import { WorkerClosedError } from 'mediasoup/errors';
import { mediaCodecs, opus } from '../../lib/rtp.js';

/** In milliseconds: how long nobody is there, how long a call lasts, what passes between two acts. */
const AWAY = [200, 4000];
const STAY = [3000, 40_000];
const BETWEEN = [50, 1500];
/** Until another try to make a worker, milliseconds. */
const RETRY = 200;
/** People in a call at most. */
const PEOPLE = 6;
/** Of all that leave, so many end without a word. */
const CRASHES = 0.15;

const listenInfos = [{ protocol: /** @type {const} */ ('udp'), ip: '0.0.0.0' }];

/** The worker is gone. */
class Gone extends Error {}

export class Application {
  joined = 0;
  died = 0;
  failed = 0;
  crashed = 0;
  /** `away`, `making` a worker, `here`, `leaving`, or `ending`: waiting for its worker's end. */
  state = 'away';
  #folder;
  #random;
  #requests;
  #call;
  #back = [];
  /** Since when it has no worker because that died. @type {number | undefined} */
  #bereft;

  /**
   * @param {string} folder  with the files of its Session's Secret
   * @param {import('./soak-random.mjs').Random} random
   * @param {import('./soak-requests.mjs').Requests} requests
   * @param {import('./call.mjs').Call} [call]  one with real packets
   */
  constructor(folder, random, requests, call) {
    this.#folder = folder;
    this.#random = random;
    this.#requests = requests;
    this.#call = call;
  }

  /** How long it was without a worker, each time since it was asked. */
  takeBack() {
    return this.#back.splice(0);
  }

  /** @param {AbortSignal} stopping */
  async run(stopping) {
    while (!stopping.aborted) {
      if (this.#bereft === undefined) await pause(this.#random.between(...AWAY), stopping);
      if (stopping.aborted) return;
      const own = new Set();
      await this.#requests.of(own, () => this.#visit(own, stopping));
    }
  }

  /** @param {Set<any>} own  its requests @param {AbortSignal} stopping */
  async #visit(own, stopping) {
    let worker;
    this.state = 'making';
    try {
      worker = await this.#createWorker();
    } catch (error) {
      this.failed++;
      this.state = 'away';
      console.error(`${this.#folder}: no worker: ${error}`);
      await pause(RETRY, stopping);
      return;
    }
    this.joined++;
    this.state = 'here';
    if (this.#bereft !== undefined) this.#back.push(Math.round(performance.now() - this.#bereft));
    this.#bereft = undefined;
    const ended = new Promise((resolve) => worker.once('subprocessclose', resolve));
    const died = new Promise((_, reject) => worker.once('died', () => reject(new Gone())));
    died.catch(() => {});
    const lost = this.#requests.oneLost(own, ended);
    try {
      await Promise.race([this.#hold(worker, stopping), died, lost]);
      this.state = 'leaving';
      await Promise.race([this.#leave(worker, own, stopping), died]);
    } catch (error) {
      // A request that was refused is counted; whoever made it begins anew, as on a dead worker.
      if (!(error instanceof Gone) && !(error instanceof WorkerClosedError)) {
        console.error(`${this.#folder}: begins anew: ${error}`);
        await this.#requests.settled(own);
        worker.close();
      }
    }
    this.state = 'ending';
    if (!worker.closed) await died.catch(() => {});
    if (worker.died && !this.#crashing) {
      this.died++;
      this.#bereft = performance.now();
    }
    this.#crashing = false;
    await ended;
    this.state = 'away';
  }

  #crashing = false;

  /** @returns {Promise<import('mediasoup').types.Worker>} */
  #createWorker() {
    const file = (name) => path.join(this.#folder, name);
    const environment = {
      MAFALDA_URL_FILE: file('url'),
      MAFALDA_TOKEN_FILE: file('token'),
      MAFALDA_CA: file('ca.crt'),
    };
    // mediasoup starts the program, with this process's environment, before it waits for anything.
    Object.assign(process.env, environment);
    return mediasoup.createWorker();
  }

  /** @param {import('mediasoup').types.Worker} worker @param {AbortSignal} stopping */
  async #hold(worker, stopping) {
    const random = this.#random;
    const until = performance.now() + random.between(...STAY);
    const router = await worker.createRouter({ mediaCodecs });
    // It goes on beside the rest; when packets do not come through, those in it say so.
    this.#call?.join(router).catch(() => {});
    /** @type {Person[]} */
    let people = [];
    while (performance.now() < until && !stopping.aborted && !worker.closed) {
      const turn = random.next();
      if (people.length < 2 || (turn < 0.3 && people.length < PEOPLE)) {
        people.push(await Person.join(router, people, random));
      } else if (turn < 0.5) {
        const leaving = random.one(people);
        people = people.filter((person) => person !== leaving);
        leaving.leave();
      } else {
        await random.one(people).act(router, worker, random);
      }
      // Those on a worker process that died, which is not the whole worker.
      people = people.filter((person) => !person.isGone);
      await pause(random.between(...BETWEEN), stopping);
    }
  }

  /** @param {import('mediasoup').types.Worker} worker @param {Set<any>} own @param {AbortSignal} stopping */
  async #leave(worker, own, stopping) {
    if (!stopping.aborted && this.#random.next() < CRASHES) {
      this.#crashing = true;
      this.crashed++;
      process.kill(worker.pid, 'SIGKILL');
      return;
    }
    // What was asked for is waited for: the library would take closing for an answer.
    await this.#requests.settled(own);
    worker.close();
  }
}

/**
 * Some time, or less when all is to end.
 * @param {number} milliseconds
 * @param {AbortSignal} stopping
 */
async function pause(milliseconds, stopping) {
  await delay(milliseconds, undefined, { signal: stopping }).catch(() => {});
}

/** Somebody in a call: sends audio, and receives all others. */
class Person {
  #inward;
  #outward;
  #producer;
  /** @type {import('mediasoup').types.Consumer[]} */
  #consumers = [];

  /**
   * @param {import('mediasoup').types.Router} router
   * @param {Person[]} others
   * @param {import('./soak-random.mjs').Random} random
   */
  static async join(router, others, random) {
    const plain = random.next() < 0.3;
    const create = () =>
      plain
        ? router.createPlainTransport({ listenInfo: listenInfos[0], comedia: true })
        : router.createWebRtcTransport({ listenInfos });
    const [inward, outward] = await Promise.all([create(), create()]);
    const ssrc = 1 + Math.floor(random.next() * 2 ** 31);
    const producer = await inward.produce({ kind: 'audio', rtpParameters: opus(ssrc) });
    const person = new Person(inward, outward, producer);
    for (const other of others) {
      await person.hear(other, router);
      await other.hear(person, router);
    }
    return person;
  }

  constructor(inward, outward, producer) {
    this.#inward = inward;
    this.#outward = outward;
    this.#producer = producer;
    for (const transport of [inward, outward]) {
      transport.on('dtlsstatechange', (state) => {
        if (state === 'closed' || state === 'failed') this.leave();
      });
    }
  }

  /** Whether nothing can be asked of it any more. */
  get isGone() {
    return this.#inward.closed || this.#outward.closed;
  }

  /** @param {Person} other @param {import('mediasoup').types.Router} router */
  async hear(other, router) {
    // A person may leave while somebody joins.
    if (this.isGone || other.isGone) return;
    const consumer = await this.#asked(
      this.#outward.consume({
        producerId: other.#producer.id,
        rtpCapabilities: router.rtpCapabilities,
        paused: true,
      }),
    );
    if (!consumer) return;
    this.#consumers.push(consumer);
    await this.#asked(consumer.resume());
  }

  /** Something that applications ask for now and then. */
  async act(router, worker, random) {
    const consumer = this.#consumers.filter(({ closed }) => !closed)[0];
    const acts = [
      () => this.#producer.pause().then(() => this.#producer.resume()),
      () => this.#inward.getStats(),
      () => this.#outward.dump(),
      () => router.dump(),
      () => worker.getResourceUsage(),
      () => worker.dump(),
      ...(consumer ? [() => consumer.getStats(), () => consumer.requestKeyFrame()] : []),
    ];
    await this.#asked(random.one(acts)());
  }

  /**
   * What is refused as its thing is gone with a worker process is the end of this person, who comes
   * again as another.
   * @template T
   * @param {Promise<T>} answer
   * @returns {Promise<T | undefined>}
   */
  async #asked(answer) {
    try {
      return await answer;
    } catch (error) {
      if (error instanceof WorkerClosedError) throw error;
      this.leave();
      return undefined;
    }
  }

  leave() {
    this.#inward.close();
    this.#outward.close();
  }
}
