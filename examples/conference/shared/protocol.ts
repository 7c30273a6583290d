/**
 * What page and server say to each other over the WebSocket, as JSON, one message a frame.
 *
 * The page sends requests (`id`, `method`, `data`); each gets exactly one answer with that id.
 * The server sends events (`event`, `data`) on its own.
 */
import type { types as mediasoup } from 'mediasoup-client';

export type Source = 'microphone' | 'camera' | 'screen';

export interface ProducerInfo {
  id: string;
  kind: mediasoup.MediaKind;
  source: Source;
  paused: boolean;
}

export interface PeerInfo {
  id: string;
  name: string;
  producers: ProducerInfo[];
  /** Where this peer's chat messages come from, once it has opened the chat. */
  chatId: string | null;
}

export interface TransportInfo {
  id: string;
  iceParameters: mediasoup.IceParameters;
  iceCandidates: mediasoup.IceCandidate[];
  dtlsParameters: mediasoup.DtlsParameters;
  sctpParameters: mediasoup.SctpParameters;
}

/** Every request: what it carries and what the answer holds. */
export interface Requests {
  /** First: names the room and gets its codecs. The others see nothing yet. */
  enter: {
    data: { room: string };
    answer: { peerId: string; routerRtpCapabilities: mediasoup.RtpCapabilities };
  };
  /** One for each direction. `tcp` asks for media over TCP only. */
  createTransport: { data: { direction: 'send' | 'recv'; tcp: boolean }; answer: TransportInfo };
  connectTransport: {
    data: { transportId: string; dtlsParameters: mediasoup.DtlsParameters };
    answer: null;
  };
  restartIce: { data: { transportId: string }; answer: mediasoup.IceParameters };
  /** From now on this peer is in the room: the others see it. */
  join: {
    data: { name: string; rtpCapabilities: mediasoup.RtpCapabilities };
    answer: { peers: PeerInfo[] };
  };
  produce: {
    data: { source: Source; paused: boolean; rtpParameters: mediasoup.RtpParameters };
    answer: { id: string };
  };
  pauseProducer: { data: { producerId: string }; answer: null };
  resumeProducer: { data: { producerId: string }; answer: null };
  closeProducer: { data: { producerId: string }; answer: null };
  /** The consumer starts paused: the page resumes it when it is ready to play. */
  consume: {
    data: { producerId: string };
    answer: { id: string; kind: mediasoup.MediaKind; rtpParameters: mediasoup.RtpParameters };
  };
  pauseConsumer: { data: { consumerId: string }; answer: null };
  resumeConsumer: { data: { consumerId: string }; answer: null };
  /** Simulcast layer, 0 the smallest. */
  setPreferredLayer: { data: { consumerId: string; spatialLayer: number }; answer: null };
  openChat: {
    data: { sctpStreamParameters: mediasoup.SctpStreamParameters };
    answer: { id: string };
  };
  followChat: {
    data: { chatId: string };
    answer: { id: string; sctpStreamParameters: mediasoup.SctpStreamParameters };
  };
}

export type Method = keyof Requests;

export interface Events {
  peerJoined: PeerInfo;
  peerLeft: { peerId: string };
  producerAdded: { peerId: string; producer: ProducerInfo };
  producerPaused: { peerId: string; producerId: string; paused: boolean };
  producerRemoved: { peerId: string; producerId: string };
  chatOpened: { peerId: string; chatId: string };
  /** How well this producer arrives at the server: 0 to 10, of its best layer. */
  producerScore: { producerId: string; score: number };
  /** How well this consumer arrives here (0 to 10), and how well its source arrives at the server. */
  consumerScore: { consumerId: string; score: number; producerScore: number };
  /** Simulcast layer that is being sent now; null when none is. */
  consumerLayer: { consumerId: string; spatialLayer: number | null };
  /** Everyone who was heard in the last moment, loudest first (dBov, -127 to 0). */
  speaking: { peerId: string; volume: number }[];
  activeSpeaker: { peerId: string };
  /** The media of this room, or this page's way to it, is gone (a worker died): enter again. */
  mediaLost: { reason: string };
}

export type ErrorCode =
  'badMessage' | 'badRequest' | 'notFound' | 'full' | 'unavailable' | 'internal';

export interface Request<M extends Method = Method> {
  id: number;
  method: M;
  data: Requests[M]['data'];
}

export type Answer<M extends Method = Method> =
  | { id: number; ok: true; data: Requests[M]['answer'] }
  /** `id` is null when the message was too broken to tell. */
  | { id: number | null; ok: false; error: { code: ErrorCode; message: string } };

export type Event = { [E in keyof Events]: { event: E; data: Events[E] } }[keyof Events];

export const limits = {
  /** Characters. */
  roomName: 64,
  /** Characters. */
  peerName: 40,
  /** Characters. */
  chatMessage: 2000,
};
