// Where the programs under test are: what `cargo build --release` wrote.
import { existsSync } from 'node:fs';
import path from 'node:path';

const repository = path.resolve(import.meta.dirname, '../..');
const targetDir = process.env.CARGO_TARGET_DIR ?? path.join(repository, 'target');

/** @param {'mafalda' | 'mafalda-worker' | 'mafalda-media-worker' | 'rust-remote' | 'latency'} name */
export function program(name) {
  const file = path.join(targetDir, 'release', name);
  if (!existsSync(file)) {
    throw new Error(`${file} is not there: run "cargo build --release" first (or "make test")`);
  }
  return file;
}
