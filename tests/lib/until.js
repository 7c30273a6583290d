import { setTimeout as delay } from 'node:timers/promises';

/**
 * Waits until `condition` answers something true and returns that. An error it throws counts
 * as "not yet" and is shown when time is up.
 * @template T
 * @param {string} what  for the error: "until WHAT"
 * @param {() => T | Promise<T>} condition
 * @param {{ within?: number, every?: number }} [options]  milliseconds
 * @returns {Promise<T>}
 */
export async function until(what, condition, { within = 15_000, every = 20 } = {}) {
  const deadline = performance.now() + within;
  for (;;) {
    let last;
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`waited ${within} ms in vain until ${what}; last: ${show(last)}`);
    }
    await delay(every);
  }
}

/**
 * Waits for an event, with a deadline.
 * @param {import('node:events').EventEmitter} emitter
 * @param {string} event
 * @param {{ within?: number }} [options]  milliseconds
 * @returns {Promise<any[]>} the event's arguments
 */
export function event(emitter, event, { within = 15_000 } = {}) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      emitter.removeListener(event, done);
      reject(new Error(`waited ${within} ms in vain for the event "${event}"`));
    }, within);
    const done = (...args) => {
      clearTimeout(timer);
      resolve(args);
    };
    emitter.once(event, done);
  });
}

function show(value) {
  if (value instanceof Error) return value.stack;
  const text = JSON.stringify(value);
  return text && text.length > 2000 ? `${text.slice(0, 2000)}…` : text;
}
