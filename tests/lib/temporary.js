import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { scopeOf } from './scope.js';

/**
 * A folder that is removed with `owner`.
 * @param {import('./scope.js').Owner} owner
 */
export async function temporaryDirectory(owner) {
  const directory = await mkdtemp(path.join(tmpdir(), 'mafalda-test-'));
  scopeOf(owner).after(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
