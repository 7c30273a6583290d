// Two Chromium pages in one conference: pictures and sound in both directions, over real ICE,
// DTLS and SRTP, on UDP and on TCP alone; and text over SCTP.
import assert from 'node:assert/strict';
import test from 'node:test';
import { join, startBrowser } from './support/browser.js';
import { startConference } from './support/conference.js';

for (const protocol of ['udp', 'tcp']) {
  test(`two browsers see, hear and write to each other over ${protocol}`, async (t) => {
    const { url, pod } = await startConference(t);
    const browser = await startBrowser(t);
    const query = `&transport=${protocol}`;
    const ada = await join(browser, url, { name: 'Ada', query });
    const grace = await join(browser, url, { name: 'Grace', query });

    for (const [who, other] of [
      [ada, grace],
      [grace, ada],
    ]) {
      await who.tile(other.name).waitFor();
      const { framesDecoded, audioEnergy } = await who.seesAndHears();
      t.diagnostic(`${who.name}: ${framesDecoded} frames, audio energy ${audioEnergy.toFixed(4)}`);

      const { paths, outbound } = await who.stats();
      assert.equal(paths.length, 2, 'one connection to send, one to receive');
      for (const path of paths) {
        assert.equal(path.dtlsState, 'connected');
        assert.match(path.srtpCipher ?? '', /^SRTP_(AEAD_)?AES/);
        assert.equal(path.protocol, protocol);
        if (pod) assert.equal(path.remotePort, pod.rtcPort, "the port is the pod's");
      }
      t.diagnostic(`${who.name}: ${paths[0].srtpCipher} over ${paths[0].protocol}`);
      const layers = outbound.filter(({ kind }) => kind === 'video');
      assert.equal(layers.length, 3, 'video is sent in three sizes');

      await who.say(`Hello ${other.name}`);
      await other.reads(who.name, `Hello ${other.name}`);
    }

    if (pod) {
      const { virtualWorkers } = await pod.status();
      const [{ carries }] = virtualWorkers;
      const expected = { routers: 1, transports: 4, producers: 4, consumers: 4 };
      const { routers, transports, producers, consumers } = carries;
      assert.deepEqual({ routers, transports, producers, consumers }, expected);
    }
    assert.deepEqual([...ada.errors, ...grace.errors], []);
  });
}
