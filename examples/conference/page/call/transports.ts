/** The two WebRTC transports of a session, wired to the server. */
import type { types as mediasoup } from 'mediasoup-client';

import type { Source } from '../../shared/protocol.ts';
import type { Signalling } from './signalling.ts';

export interface SendAppData extends Record<string, unknown> {
  source: Source;
  paused: boolean;
}

/**
 * `onFailed` is called when media can no longer pass. A transport that is merely disconnected
 * gets an ICE restart first.
 */
export async function createTransports(
  device: mediasoup.Device,
  signalling: Signalling,
  tcp: boolean,
  onFailed: () => void,
): Promise<{ send: mediasoup.Transport; recv: mediasoup.Transport }> {
  const [sendInfo, recvInfo] = await Promise.all([
    signalling.request('createTransport', { direction: 'send', tcp }),
    signalling.request('createTransport', { direction: 'recv', tcp }),
  ]);
  const send = device.createSendTransport(sendInfo);
  const recv = device.createRecvTransport(recvInfo);
  for (const transport of [send, recv]) {
    connectThrough(transport, signalling);
    watch(transport, signalling, onFailed);
  }
  send.on('produce', ({ rtpParameters, appData }, done, failed) => {
    const { source, paused } = appData as SendAppData;
    signalling.request('produce', { source, paused, rtpParameters }).then(done, failed);
  });
  send.on('producedata', ({ sctpStreamParameters }, done, failed) => {
    signalling.request('openChat', { sctpStreamParameters }).then(done, failed);
  });
  return { send, recv };
}

function connectThrough(transport: mediasoup.Transport, signalling: Signalling): void {
  transport.on('connect', ({ dtlsParameters }, done, failed) => {
    signalling
      .request('connectTransport', { transportId: transport.id, dtlsParameters })
      .then(() => done(), failed);
  });
}

function watch(transport: mediasoup.Transport, signalling: Signalling, onFailed: () => void): void {
  transport.on('connectionstatechange', (state) => {
    if (state === 'failed') onFailed();
    if (state !== 'disconnected') return;
    signalling
      .request('restartIce', { transportId: transport.id })
      .then((iceParameters) => transport.restartIce({ iceParameters }))
      .catch((error: unknown) => console.warn('ICE restart:', error));
  });
}
