// picture.mjs URL: two people join the conference there, each in a browser profile of their own, and each
// must see the other's video move and hear the other. It prints one line of JSON: what arrived, and by
// which ways: the addresses of the media pods' candidates that the browsers chose.
import assert from 'node:assert/strict';
import { join, startBrowser } from '../../browser/support/browser.js';
import { Scope } from '../../lib/scope.js';

const [, , url] = process.argv;

/** Runs in the page. @returns {Promise<string[]>} */
async function ways() {
  const found = [];
  for (const connection of globalThis.peerConnections) {
    const stats = await connection.getStats();
    for (const stat of stats.values()) {
      const pair = stat.type === 'transport' && stats.get(stat.selectedCandidatePairId);
      if (!pair) continue;
      const { address, port, protocol } = stats.get(pair.remoteCandidateId);
      found.push(`${protocol} ${address}:${port}`);
    }
  }
  return found;
}

const scope = new Scope();
try {
  const browser = await startBrowser(scope);
  const ada = await join(browser, url, { name: 'Ada' });
  const grace = await join(browser, url, { name: 'Grace' });
  const [adaGot, graceGot] = await Promise.all([ada.seesAndHears(), grace.seesAndHears()]);
  const all = await Promise.all([ada, grace].map(({ page }) => page.evaluate(ways)));
  assert.deepEqual([...ada.errors, ...grace.errors], []);
  console.log(JSON.stringify({ ada: adaGot, grace: graceGot, ways: [...new Set(all.flat())] }));
} finally {
  await scope.end();
}
