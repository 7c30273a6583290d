/** Measures a session: how each track passes, and the path it takes. */
import type { types as mediasoup } from 'mediasoup-client';

import type { Session } from './session.ts';

export interface TrackQuality {
  /** Bits a second. */
  bitrate: number;
  width: number | null;
  height: number | null;
  framesPerSecond: number | null;
  /** Share of packets that were lost on the last leg since the last look, 0 to 1. */
  loss: number;
}

export interface PathQuality {
  protocol: string;
  /** Milliseconds; null before the first answer. */
  roundTrip: number | null;
}

/** The fields in use here; the DOM library types few of them. */
interface Stat {
  id: string;
  type: string;
  timestamp: number;
  bytesSent?: number;
  bytesReceived?: number;
  packetsReceived?: number;
  packetsLost?: number;
  frameWidth?: number;
  frameHeight?: number;
  framesPerSecond?: number;
  selectedCandidatePairId?: string;
  currentRoundTripTime?: number;
  localCandidateId?: string;
  protocol?: string;
}

interface Counters {
  at: number;
  bytes: number;
  received: number;
  lost: number;
}

export class QualityMeter {
  readonly #last = new Map<string, Counters>();

  /** null before there are two looks to compare. */
  async track(of: mediasoup.Producer | mediasoup.Consumer): Promise<TrackQuality | null> {
    const stats = statsOf(await of.getStats());
    const streams = stats.filter(({ type }) => type === 'inbound-rtp' || type === 'outbound-rtp');
    const now = sum(streams);
    const last = this.#last.get(of.id);
    this.#last.set(of.id, now);
    if (!last || now.at <= last.at) return null;
    const largest = streams.reduce<Stat | undefined>(larger, undefined);
    const lost = Math.max(0, now.lost - last.lost);
    const due = lost + now.received - last.received;
    return {
      bitrate: (8000 * Math.max(0, now.bytes - last.bytes)) / (now.at - last.at),
      width: largest?.frameWidth ?? null,
      height: largest?.frameHeight ?? null,
      framesPerSecond: largest?.framesPerSecond ?? null,
      loss: due > 0 ? lost / due : 0,
    };
  }

  /** null before the transport is connected. */
  async path({ send, recv }: Session): Promise<PathQuality | null> {
    const transport = send.connectionState === 'connected' ? send : recv;
    const stats = statsOf(await transport.getStats());
    const byId = new Map(stats.map((stat) => [stat.id, stat]));
    const pairId = stats.find(({ type }) => type === 'transport')?.selectedCandidatePairId;
    // Firefox has no transport stat: there the pair that has carried most is the one.
    const pair = byId.get(pairId ?? '') ?? busiestPair(stats);
    const protocol = byId.get(pair?.localCandidateId ?? '')?.protocol;
    if (!pair || !protocol) return null;
    const seconds = pair.currentRoundTripTime;
    return { protocol, roundTrip: seconds === undefined ? null : seconds * 1000 };
  }
}

function statsOf(report: RTCStatsReport): Stat[] {
  return [...(report as unknown as Map<string, Stat>).values()];
}

function sum(streams: Stat[]): Counters {
  const counters = { at: 0, bytes: 0, received: 0, lost: 0 };
  for (const stream of streams) {
    counters.at = Math.max(counters.at, stream.timestamp);
    counters.bytes += stream.bytesSent ?? stream.bytesReceived ?? 0;
    counters.received += stream.packetsReceived ?? 0;
    counters.lost += stream.packetsLost ?? 0;
  }
  return counters;
}

function larger(a: Stat | undefined, b: Stat): Stat {
  return a && (a.frameWidth ?? 0) >= (b.frameWidth ?? 0) ? a : b;
}

function busiestPair(stats: Stat[]): Stat | undefined {
  const pairs = stats.filter(({ type }) => type === 'candidate-pair');
  return pairs.sort((a, b) => (b.bytesSent ?? 0) - (a.bytesSent ?? 0))[0];
}
