// A host name whose addresses a test chooses, and changes: /etc/hosts of a mount namespace. Needs root.
import { writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { program } from './programs.js';
import { temporaryDirectory } from './temporary.js';

/** The name. */
export const NAME = 'pods.test';

/**
 * @param {import('./scope.js').Owner} owner
 * @param {...string} addresses  of the name at first
 */
export async function makeName(owner, ...addresses) {
  if (process.getuid?.() !== 0) {
    throw new Error('mount namespaces need root: run these tests with sudo');
  }
  const directory = await temporaryDirectory(owner);
  const hosts = path.join(directory, 'hosts');
  const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
  const prefix = ['unshare', '--mount', 'sh', '-c', script, hosts];
  const name = {
    /** What a program's command begins with, so that it sees the name. Its process id stays its own. */
    prefix,

    /**
     * The name has these addresses from now on; none: it is not found.
     * @param {...string} addresses
     */
    set(...addresses) {
      // In place: what is mounted is this file.
      const lines = ['127.0.0.1 localhost', ...addresses.map((address) => `${address} ${NAME}`)];
      writeFileSync(hosts, `${lines.join('\n')}\n`);
    },

    /**
     * A relay that sees the name, as a `workerBin`, and the file with what it says for people.
     */
    async relay() {
      const [file, log] = [path.join(directory, 'relay'), path.join(directory, 'relay.log')];
      const command = [...prefix, program('mafalda-worker')].map((word) => `'${word}'`).join(' ');
      await writeFile(file, `#!/bin/sh\nexec ${command} "$@" 2>>'${log}'\n`, { mode: 0o755 });
      return { workerBin: file, log };
    },
  };
  name.set(...addresses);
  return name;
}
