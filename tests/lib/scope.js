// What a test started and must end, in the reverse order, whether the test passed or not.
// Every starter of this folder takes a scope as its first argument; the context `t` of a
// node:test test is one. `new Scope()` is one for other places (a `before` hook, a program).

/**
 * @typedef {object} Owner
 * @property {(end: () => unknown) => void} after  called with what ends a thing
 */

const open = new Set();

/** @implements {Owner} */
export class Scope {
  #ends = [];

  constructor() {
    open.add(this);
  }

  /** @param {() => unknown} end */
  after(end) {
    this.#ends.push(end);
  }

  /** Ends everything; the first error is thrown when all is done. */
  async end() {
    open.delete(this);
    const errors = [];
    for (const end of this.#ends.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        errors.push(error);
      }
    }
    if (errors.length > 0) throw errors[0];
  }
}

/** One scope for a whole test: ends in reverse order, as `t.after` alone would not. */
/**
 * One scope for a whole test: ends in reverse order, as `t.after` alone would not.
 * @type {WeakMap<Owner, Scope>}
 */
const scopes = new WeakMap();

/**
 * The scope behind an owner: for a test's context one that ends with the test.
 * @param {Owner} owner
 * @returns {Scope}
 */
export function scopeOf(owner) {
  if (owner instanceof Scope) return owner;
  const known = scopes.get(owner);
  if (known) return known;
  const scope = new Scope();
  scopes.set(owner, scope);
  owner.after(() => scope.end());
  return scope;
}

/** @type {Set<() => void>} */
const lastResorts = new Set();

/**
 * Registers what must be done even when this process is told to end in the middle of a test.
 * @param {() => void} end  must not wait
 * @returns {() => void} forgets it
 */
export function atExit(end) {
  lastResorts.add(end);
  return () => lastResorts.delete(end);
}

process.on('exit', () => {
  for (const end of [...lastResorts].reverse()) {
    try {
      end();
    } catch {
      // The rest must still be ended.
    }
  }
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1));
