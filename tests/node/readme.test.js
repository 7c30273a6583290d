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
  // Flag, value, description, and the default in brackets at the end of it.
  const settings = help
    .split(/\n(?= +--[\w-]+ <)/)
    .slice(1)
    .map((text) => ({
      flag: text.match(/--[\w-]+/)?.[0] ?? text,
      otherwise: text.match(/\[default: (.*?)\]/)?.[1] ?? '',
    }));
  assert.ok(settings.length > 10);
  const heading = 'Settings of `mafalda serve`';
  assert.deepEqual(firstColumn(heading), settings.map(({ flag }) => flag).sort());
  for (const { flag, otherwise } of settings) {
    const row = section(heading).match(new RegExp(`^\\|[^|]*\`${flag}\`.*$`, 'm'));
    assert.equal(row?.[0].split('|')[2].replaceAll('`', '').trim(), otherwise, flag);
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
  // What crosses pipes between pods is counted where there are some (virtual/horizontal.test.js).
  names.push('mafalda_pipe_bytes_total');
  assert.deepEqual(firstColumn('Metrics'), names.sort());
});
