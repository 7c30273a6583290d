// mediasoup's own Node suite, from the installed npm package, through the relay: every
// test it has must run and pass.
//   node upstream/run.js            against pods, with real and with virtual workers
//   node upstream/run.js 'of 3'     against those whose title has these words
//   node upstream/run.js --local    against the worker itself, as a control
import assert from 'node:assert/strict';
import { cp, copyFile, readFile, realpath, symlink } from 'node:fs/promises';
import path from 'node:path';
import { makeCertificate } from '../lib/certificate.js';
import { startCluster } from '../lib/gateway.js';
import { start } from '../lib/process.js';
import { startVirtualPod } from '../lib/pod.js';
import { program } from '../lib/programs.js';
import { Scope } from '../lib/scope.js';
import { temporaryDirectory } from '../lib/temporary.js';

const FILES = 17;
const TESTS = 202;

const here = import.meta.dirname;
const nodeModules = path.join(here, '../node_modules');

/** jest leaves out what lies below a folder named node_modules: the package is copied. */
async function copyPackage(owner) {
  const root = await realpath(await temporaryDirectory(owner));
  await cp(path.join(nodeModules, 'mediasoup'), path.join(root, 'mediasoup'), {
    recursive: true,
  });
  await symlink(nodeModules, path.join(root, 'node_modules'));
  await copyFile(path.join(here, 'jest.config.cjs'), path.join(root, 'mediasoup/jest.config.cjs'));
  // The certificate that one test names is not part of the package.
  await makeCertificate(path.join(root, 'mediasoup/node/lib/test/data'));
  return root;
}

/**
 * @param {string} title
 * @param {string} root  the copy
 * @param {NodeJS.ProcessEnv} env
 */
async function runSuite(owner, title, root, env) {
  console.log(`mediasoup's own suite ${title}`);
  const report = path.join(root, 'report.json');
  const jest = start(
    owner,
    process.execPath,
    [
      path.join(nodeModules, 'jest/bin/jest.js'),
      ...['--config', 'jest.config.cjs', '--cacheDirectory', path.join(root, 'cache')],
      ...['--json', '--outputFile', report],
    ],
    { cwd: path.join(root, 'mediasoup'), env },
  );
  // One line a file; the JSON on its stdout is read from the report.
  jest.child.stderr?.on('data', (text) => {
    for (const line of text.match(/^(PASS|FAIL) .*$/gm) ?? []) console.log(`  ${line}`);
  });
  await jest.ended;
  const result = JSON.parse(await readFile(report, 'utf8'));
  const numbers = {
    files: result.numTotalTestSuites,
    passed: result.numPassedTests,
    failed: result.numFailedTests + result.numFailedTestSuites + result.numRuntimeErrorTestSuites,
    skipped: result.numPendingTests + result.numTodoTests + result.numPendingTestSuites,
  };
  const [seconds] = jest.stderr.match(/(?<=^Time:\s+)[\d.]+ s/m) ?? ['?'];
  console.log(
    `${title}: ${numbers.passed} of ${TESTS} tests passed, ${numbers.failed} failed, ${numbers.skipped} skipped, in ${numbers.files} files, ${seconds}`,
  );
  const expected = { files: FILES, passed: TESTS, failed: 0, skipped: 0 };
  try {
    assert.deepEqual(numbers, expected);
  } catch (error) {
    console.error(jest.stderr);
    throw error;
  }
}

/** On one host the pod takes the channel's ends over; with it off, the connection carries them. */
const carried = { MAFALDA_HAND_OVER: 'off' };

/** How a virtual worker places, and a gateway too. */
const placements = ['pack', 'spread'];

/** The clusters that the suite runs against: two pods behind a gateway. */
function clusters() {
  return placements.flatMap((placement) =>
    [carried, {}].map((env) => ({
      title: `a gateway to 2 pods, ${placement}, channel ${env === carried ? 'carried' : 'handed over'}`,
      args: ['--placement', placement],
      env,
    })),
  );
}

/** The pods that the suite runs against, each with so many workers. */
function pods() {
  const real = [
    {
      title: 'a real worker, its channel carried',
      workers: [1],
      args: ['--virtual', 'off'],
      env: carried,
    },
    {
      title: 'a real worker, its channel handed over',
      workers: [2],
      args: ['--virtual', 'off'],
      env: {},
    },
  ];
  const virtual = [1, 3, 5].flatMap((workers) =>
    placements.map((placement) => ({
      title: `a virtual worker of ${workers}, ${placement}`,
      workers: [workers],
      args: ['--placement', placement],
      // Each way is the hard one for something.
      env: placement === 'pack' ? carried : {},
    })),
  );
  // The relay runs the virtual worker over the workers of two pods.
  const horizontal = placements.map((placement) => ({
    title: `a virtual worker of two pods, ${placement}`,
    workers: [1, 2],
    args: [],
    env: { MAFALDA_PLACEMENT: placement },
  }));
  return [...real, ...virtual, ...horizontal];
}

const scope = new Scope();
try {
  const root = await copyPackage(scope);
  if (process.argv.includes('--local')) {
    await runSuite(scope, 'on a local worker', root, {
      MEDIASOUP_WORKER_BIN: program('mafalda-media-worker'),
    });
  } else {
    const only = process.argv[2];
    for (const { title, workers, args, env } of pods()) {
      if (only && !title.includes(only)) continue;
      const pods = [];
      for (const count of workers) {
        const options = { workers: count, args: ['--listen-infos', 'application', ...args] };
        pods.push(await startVirtualPod(scope, options));
      }
      await runSuite(scope, title, root, {
        MEDIASOUP_WORKER_BIN: program('mafalda-worker'),
        MAFALDA_URL: pods.map((pod) => pod.webSocketUrl).join(),
        ...env,
      });
      for (const pod of pods) await pod.stop();
    }
    for (const { title, args, env } of clusters()) {
      if (only && !title.includes(only)) continue;
      const { pods, gateway } = await startCluster(scope, 2, {
        args,
        workers: 2,
        podArgs: ['--listen-infos', 'application', ...args],
      });
      await runSuite(scope, title, root, {
        MEDIASOUP_WORKER_BIN: program('mafalda-worker'),
        MAFALDA_URL: gateway.webSocketUrl,
        ...env,
      });
      await gateway.stop();
      for (const pod of pods) await pod.stop();
    }
  }
} finally {
  await scope.end();
}
