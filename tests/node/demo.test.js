// `make demo` as a newcomer meets it: it names an address, serves the page, and leaves nothing behind.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { start } from '../lib/process.js';
import { until } from '../lib/until.js';

const demo = path.resolve(import.meta.dirname, '../../scripts/demo');

/**
 * Starts the demo on a free port.
 * @param {import('../lib/scope.js').Owner} owner
 */
async function startDemo(owner) {
  const running = start(owner, demo, [], { env: { PORT: '0' } });
  const [, address] = await running.says(/Open {2}(http:\S+)/, { within: 60_000 });
  const [pod, conference] = childrenOf(running.pid);
  return { running, address, pod, conference };
}

/** The processes that a process started, the oldest first. */
function childrenOf(pid) {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
}

function isAlive(pid) {
  return existsSync(`/proc/${pid}`);
}

test('it serves the page; Ctrl-C ends it and both its programs', async (t) => {
  const { running, address, pod, conference } = await startDemo(t);
  // Two tabs of this address are to meet: it names their room.
  assert.equal(new URL(address).search, '?room=demo');
  const response = await fetch(address);
  assert.equal(response.status, 200);
  assert.match(await response.text(), /<script/);
  running.kill('SIGINT');
  assert.deepEqual(await running.ended, { code: 0, signal: null });
  assert.ok(!isAlive(pod) && !isAlive(conference));
});

test('when one of the two dies it ends the other and says which failed', async (t) => {
  for (const victim of /** @type {const} */ (['pod', 'conference'])) {
    const demo = await startDemo(t);
    process.kill(demo[victim], 'SIGKILL');
    assert.deepEqual(await demo.running.ended, { code: 1, signal: null });
    assert.match(demo.running.stderr, victim === 'pod' ? /media pod ended/ : /conference ended/);
    await until('both are gone', () => !isAlive(demo.pod) && !isAlive(demo.conference));
  }
});
