// The README names every setting and every metric there is, and none that is not.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { createWorker } from '../lib/application.js';
import { startPod } from '../lib/pod.js';
import { start } from '../lib/process.js';
import { program } from '../lib/programs.js';

const readme = readFileSync(path.resolve(import.meta.dirname, '../../README.md'), 'utf8');

/** The text below a heading, up to the next heading. */
function section(heading) {
  const [, below] = readme.split(`\n### ${heading}\n`);
  assert.ok(below, `there is a heading "${heading}"`);
  return below.split('\n#')[0];
}

/** What the first column of a section's table names, in code style. */
function firstColumn(heading) {
  const rows = section(heading).match(/^\| `.*$/gm) ?? [];
  return rows
    .flatMap((row) => [...row.split('|')[1].matchAll(/`([^`]+)`/g)].map(([, name]) => name))
    .sort();
}

test('settings', () => {
  const help = execFileSync(program('mafalda'), ['serve', '--help'], { encoding: 'utf8' });
  const flags = [...help.matchAll(/^ +(?:-\w, )?(--[\w-]+)/gm)].map(([, flag]) => flag);
  const expected = flags.filter((flag) => flag !== '--help').sort();
  assert.ok(expected.length > 10);
  assert.deepEqual(firstColumn('Settings of `mafalda serve`'), expected);
  const defaults = [...help.matchAll(/^ +(--[\w-]+) <[^[]*\[default: ([^\]]+)\]$/gm)];
  assert.ok(defaults.length > 10);
  for (const [, flag, value] of defaults) {
    const row = section('Settings of `mafalda serve`').match(new RegExp(`^\\| .${flag}.*$`, 'm'));
    const said = row?.[0].split('|')[2].replaceAll('`', '').trim();
    assert.equal(said, value, flag);
  }
});

test('metrics', async (t) => {
  const pod = await startPod(t, { workers: 1 });
  // Those with labels are there once something was counted: messages, and a refusal.
  await (await createWorker(t, pod)).dump();
  const env = { MAFALDA_URL: pod.webSocketUrl, MEDIASOUP_VERSION: '1.0.0' };
  const refused = start(t, program('mafalda-worker'), ['--check'], { env });
  assert.equal((await refused.ended).code, 50);
  const text = await pod.metrics();
  const names = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) =>
    type === 'counter' ? `${name}_total` : name,
  );
  assert.ok(names.length > 5);
  assert.deepEqual(firstColumn('Metrics'), names.sort());
});
