/** How each source is encoded. */
import type { types as mediasoup } from 'mediasoup-client';

import type { Source } from '../../shared/protocol.ts';

/** Simulcast: the same picture in three sizes; the server sends each viewer the one that fits. */
const CAMERA: mediasoup.RtpEncodingParameters[] = [
  { scaleResolutionDownBy: 4, maxBitrate: 150_000, scalabilityMode: 'L1T3' },
  { scaleResolutionDownBy: 2, maxBitrate: 500_000, scalabilityMode: 'L1T3' },
  { scaleResolutionDownBy: 1, maxBitrate: 1_500_000, scalabilityMode: 'L1T3' },
];

const SCREEN: mediasoup.RtpEncodingParameters[] = [{ maxBitrate: 2_500_000 }];

export const TOP_LAYER = CAMERA.length - 1;

export function produceOptions(source: Source): mediasoup.ProducerOptions {
  switch (source) {
    case 'microphone':
      return { codecOptions: { opusStereo: false, opusDtx: true, opusFec: true } };
    case 'camera':
      return { encodings: CAMERA };
    case 'screen':
      return { encodings: SCREEN };
  }
}
