// What runs inside the page.

/** Before the page's own code: remembers every peer connection, so that it can be measured. */
export function watchPeerConnections() {
  const all = [];
  window.peerConnections = all;
  window.RTCPeerConnection = class extends window.RTCPeerConnection {
    constructor(...settings) {
      super(...settings);
      all.push(this);
    }
  };
}

/**
 * @typedef {object} Report
 * @property {Path[]} paths  of each peer connection that is open
 * @property {RTCInboundRtpStreamStats[]} inbound
 * @property {RTCOutboundRtpStreamStats[]} outbound
 *
 * @typedef {object} Path
 * @property {string} dtlsState
 * @property {string | undefined} srtpCipher
 * @property {string | undefined} protocol  of the candidate pair in use
 * @property {number | undefined} remotePort
 */

/** @returns {Promise<Report>} */
export async function readStats() {
  const report = { paths: [], inbound: [], outbound: [] };
  for (const connection of window.peerConnections) {
    if (connection.connectionState === 'closed') continue;
    const stats = await connection.getStats();
    for (const stat of stats.values()) {
      if (stat.type === 'inbound-rtp') report.inbound.push(stat);
      if (stat.type === 'outbound-rtp') report.outbound.push(stat);
      if (stat.type !== 'transport') continue;
      const pair = stats.get(stat.selectedCandidatePairId);
      const { dtlsState, srtpCipher } = stat;
      const { protocol } = stats.get(pair?.localCandidateId) ?? {};
      const { port: remotePort } = stats.get(pair?.remoteCandidateId) ?? {};
      report.paths.push({ dtlsState, srtpCipher, protocol, remotePort });
    }
  }
  return report;
}
