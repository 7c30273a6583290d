import { readFileSync } from 'node:fs';

/**
 * Memory of a process, from /proc.
 * @param {number} pid
 * @returns {{ now: number, peak: number }} resident MiB
 */
export function memory(pid) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const mib = (/** @type {string} */ name) =>
    Number(status.match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))?.[1]) / 1024;
  return { now: mib('VmRSS'), peak: mib('VmHWM') };
}
