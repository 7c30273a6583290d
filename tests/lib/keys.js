// A cluster's key and the tokens it signs, made by the program that users have for it.
import path from 'node:path';
import { start } from './process.js';
import { program } from './programs.js';
import { scopeOf } from './scope.js';
import { temporaryDirectory } from './temporary.js';

/**
 * @param {import('./scope.js').Owner} owner
 */
export async function makeKeys(owner) {
  const directory = await temporaryDirectory(owner);
  await run(owner, ['keygen', '--out', directory]);
  return new Keys(owner, path.join(directory, 'mafalda.key'), path.join(directory, 'mafalda.pub'));
}

export class Keys {
  /**
   * @param {import('./scope.js').Owner} owner
   * @param {string} privateKey  file
   * @param {string} publicKey  file
   */
  constructor(owner, privateKey, publicKey) {
    this.owner = scopeOf(owner);
    this.privateKey = privateKey;
    this.publicKey = publicKey;
  }

  /**
   * What `mafalda serve` needs to know of them.
   * @param {string} [cluster]
   */
  podArgs(cluster = 'test') {
    return ['--token-key', this.publicKey, '--cluster', cluster];
  }

  /**
   * @param {{ cluster?: string, role?: string, more?: string[] }} [options]  more: further
   *   arguments of `mafalda token`
   */
  async token({ cluster = 'test', role = 'app', more = [] } = {}) {
    const { stdout } = await run(this.owner, [
      'token',
      ...['--key', this.privateKey, '--cluster', cluster, '--role', role],
      ...more,
    ]);
    return stdout.trim();
  }
}

/**
 * @param {import('./scope.js').Owner} owner
 * @param {string[]} args
 */
async function run(owner, args) {
  const mafalda = start(owner, program('mafalda'), args);
  const { code } = await mafalda.ended;
  if (code !== 0) throw new Error(`mafalda ${args[0]}: exit ${code}\n${mafalda.output}`);
  return mafalda;
}
