/** Reads the fields of a message from the network; what does not fit is a 'badRequest'. */
import { RequestError } from './errors.ts';

export class Fields {
  readonly #fields: Record<string, unknown>;

  constructor(data: unknown) {
    if (!isRecord(data)) throw new RequestError('badRequest', 'data must be an object');
    this.#fields = data;
  }

  /** A text of 1 to `longest` characters, without surrounding white space. */
  text(name: string, longest = 100): string {
    const value = this.#fields[name];
    const text = typeof value === 'string' ? value.trim() : '';
    if (text.length < 1 || text.length > longest) {
      throw new RequestError('badRequest', `${name} must be a text of 1 to ${longest} characters`);
    }
    return text;
  }

  oneOf<T extends string>(name: string, values: readonly T[]): T {
    const found = values.find((value) => value === this.#fields[name]);
    if (found === undefined) {
      throw new RequestError('badRequest', `${name} must be one of ${values.join(', ')}`);
    }
    return found;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== 'boolean') {
      throw new RequestError('badRequest', `${name} must be true or false`);
    }
    return value;
  }

  wholeNumber(name: string, most: number): number {
    const value = this.#fields[name];
    if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) {
      throw new RequestError('badRequest', `${name} must be a whole number from 0 to ${most}`);
    }
    return value;
  }

  /** Parameters of the type that the caller expects: mediasoup itself checks them in depth. */
  // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters
  parameters<T extends object>(name: string): T {
    const value = this.#fields[name];
    if (!isRecord(value)) throw new RequestError('badRequest', `${name} must be an object`);
    return value as T;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
