/** Typed events: `on` gives back what ends the listening. */
export class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<(data: never) => void>>();

  on<E extends keyof Events>(event: E, listener: (data: Events[E]) => void): () => void {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }

  protected emit<E extends keyof Events>(event: E, data: Events[E]): void {
    for (const listener of this.#listeners.get(event) ?? []) {
      (listener as (data: Events[E]) => void)(data);
    }
  }
}
