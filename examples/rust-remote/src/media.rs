//! One Opus stream, as mediasoup wants it described.

use mediasoup::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU8, NonZeroU32};

const PAYLOAD_TYPE: u8 = 100;
const SSRC: u32 = 1111;
const CLOCK_RATE: NonZeroU32 = NonZeroU32::new(48_000).unwrap();
const CHANNELS: NonZeroU8 = NonZeroU8::new(2).unwrap();

/// What the router carries.
pub fn opus() -> RtpCodecCapability {
    RtpCodecCapability::Audio {
        mime_type: MimeTypeAudio::Opus,
        preferred_payload_type: Some(PAYLOAD_TYPE),
        clock_rate: CLOCK_RATE,
        channels: CHANNELS,
        parameters: RtpCodecParametersParameters::default(),
        rtcp_feedback: Vec::new(),
    }
}

/// What the consuming side understands.
pub fn rtp_capabilities() -> RtpCapabilities {
    RtpCapabilities {
        codecs: vec![opus()],
        header_extensions: Vec::new(),
    }
}

/// What the producing side sends.
pub fn producer_options() -> ProducerOptions {
    let codec = RtpCodecParameters::Audio {
        mime_type: MimeTypeAudio::Opus,
        payload_type: PAYLOAD_TYPE,
        clock_rate: CLOCK_RATE,
        channels: CHANNELS,
        parameters: RtpCodecParametersParameters::default(),
        rtcp_feedback: Vec::new(),
    };
    let encoding = RtpEncodingParameters {
        ssrc: Some(SSRC),
        ..RtpEncodingParameters::default()
    };
    let parameters = RtpParameters {
        codecs: vec![codec],
        encodings: vec![encoding],
        ..RtpParameters::default()
    };
    ProducerOptions::new(MediaKind::Audio, parameters)
}

/// A transport for a browser on this host; a pod puts its own addresses in place of these.
pub fn webrtc_options() -> WebRtcTransportOptions {
    WebRtcTransportOptions::new(WebRtcTransportListenInfos::new(ListenInfo {
        protocol: Protocol::Udp,
        ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
        announced_address: None,
        expose_internal_ip: false,
        port: None,
        port_range: None,
        flags: None,
        send_buffer_size: None,
        recv_buffer_size: None,
    }))
}

/// An RTP packet of 20 ms that carries its number.
pub fn packet(number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, PAYLOAD_TYPE];
    packet.extend((number as u16).to_be_bytes());
    packet.extend(number.wrapping_mul(960).to_be_bytes());
    packet.extend(SSRC.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet
}

/// The number that such a packet carries.
pub fn number(packet: &[u8]) -> Option<u32> {
    // The payload is at the end: mediasoup may put extensions between it and the header.
    packet.last_chunk().copied().map(u32::from_be_bytes)
}
