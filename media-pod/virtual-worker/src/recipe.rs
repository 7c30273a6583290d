//! What is needed to make a copy of a producer on another member.
//!
//! mediasoup's `Router.pipeToRouter()` with `ortc.getPipeConsumerRtpParameters()`, from the worker's
//! side: all follows from the request that made the producer.

use mafalda_channel::fbs::consumer::ConsumerLayers;
use mafalda_channel::fbs::rtp_parameters::{
    CodecMapping, EncodingMapping, MediaKind, Parameter, RtcpFeedback, RtcpParameters,
    RtpCodecParameters, RtpEncodingParameters, RtpHeaderExtensionParameters, RtpHeaderExtensionUri,
    RtpMapping, RtpParameters, Rtx, Type, Value,
};
use mafalda_channel::fbs::sctp_parameters::SctpStreamParameters;
use mafalda_channel::fbs::transport::{
    ConsumeDataRequest, ConsumeRequest, ProduceDataRequest, ProduceRequest,
};
use mafalda_channel::fbs::{data_consumer, data_producer};

/// How far a pipe's RTX SSRC is from that of its media. mediasoup's libraries make mapped SSRCs of at
/// most nine digits, so that none is another's RTX SSRC.
const RTX_SSRC: u32 = 1 << 30;

/// A copy's ingredients.
#[derive(Debug)]
pub(crate) enum Recipe {
    Media(Box<ProduceRequest>),
    /// Messages over SCTP.
    Sctp(ProduceDataRequest),
    /// Messages of the application itself: each is repeated to every copy.
    Direct(ProduceDataRequest),
}

/// What a copy of media is made of, on one pipe.
#[derive(Debug)]
pub(crate) struct Media {
    kind: MediaKind,
    /// Of the pipe consumer, and of the copy that is made from it.
    rtp_parameters: RtpParameters,
    mapping: RtpMapping,
}

impl Media {
    /// `rtx`: what is lost on the way is sent again.
    pub fn new(request: &ProduceRequest, rtx: bool) -> Self {
        let original = &request.rtp_parameters;
        let mapped_type = |payload_type| {
            let mut mappings = request.rtp_mapping.codecs.iter();
            mappings
                .find(|m| m.payload_type == payload_type)
                .map(|m| m.mapped_payload_type)
        };
        let codecs: Vec<_> = original
            .codecs
            .iter()
            .filter(|codec| rtx || !is_rtx(codec))
            .filter_map(|codec| {
                let resends = is_rtx(codec);
                Some(RtpCodecParameters {
                    payload_type: mapped_type(codec.payload_type)?,
                    rtcp_feedback: Some(match resends {
                        true => Vec::new(),
                        false => feedback(request.kind, rtx),
                    }),
                    parameters: match &codec.parameters {
                        Some(parameters) if resends => Some(remapped(parameters, mapped_type)),
                        other => other.clone(),
                    },
                    ..codec.clone()
                })
            })
            .collect();
        let resends = codecs.iter().any(is_rtx);
        // The mapped SSRC itself serves as the pipe's SSRC.
        let encodings = original
            .encodings
            .iter()
            .zip(&request.rtp_mapping.encodings);
        let encodings: Vec<_> = encodings
            .map(|(encoding, mapping)| RtpEncodingParameters {
                ssrc: Some(mapping.mapped_ssrc),
                rid: None,
                codec_payload_type: None,
                rtx: resends.then(|| {
                    let ssrc = mapping.mapped_ssrc.wrapping_add(RTX_SSRC);
                    Box::new(Rtx { ssrc })
                }),
                ..encoding.clone()
            })
            .collect();
        Self {
            kind: request.kind,
            mapping: RtpMapping {
                codecs: codecs
                    .iter()
                    .map(|codec| CodecMapping {
                        payload_type: codec.payload_type,
                        mapped_payload_type: codec.payload_type,
                    })
                    .collect(),
                encodings: encodings
                    .iter()
                    .filter_map(|encoding| encoding.ssrc)
                    .map(|ssrc| EncodingMapping {
                        rid: None,
                        ssrc: Some(ssrc),
                        mapped_ssrc: ssrc,
                    })
                    .collect(),
            },
            rtp_parameters: RtpParameters {
                mid: None,
                codecs,
                header_extensions: header_extensions(request.kind, original),
                encodings,
                rtcp: Box::new(RtcpParameters {
                    cname: original.rtcp.cname.clone(),
                    reduced_size: true,
                }),
                msid: original.msid.clone(),
            },
        }
    }

    /// The pipe consumer's request.
    pub fn consume(&self, producer_id: &str, consumer_id: &str) -> ConsumeRequest {
        ConsumeRequest {
            consumer_id: consumer_id.to_owned(),
            producer_id: producer_id.to_owned(),
            kind: self.kind,
            rtp_parameters: Box::new(self.rtp_parameters.clone()),
            type_: Type::Pipe,
            consumable_rtp_encodings: self.rtp_parameters.encodings.clone(),
            paused: false,
            preferred_layers: None::<Box<ConsumerLayers>>,
            ignore_dtx: false,
        }
    }

    /// The copy's request.
    pub fn produce(&self, producer_id: &str, paused: bool) -> ProduceRequest {
        ProduceRequest {
            producer_id: producer_id.to_owned(),
            kind: self.kind,
            rtp_parameters: Box::new(self.rtp_parameters.clone()),
            rtp_mapping: Box::new(self.mapping.clone()),
            paused,
            // The origin alone delays them.
            key_frame_request_delay: 0,
            enable_mediasoup_packet_id_header_extension: false,
        }
    }
}

/// The pipe data consumer's request. What crosses a pipe keeps the original's guarantees.
pub(crate) fn consume_data(
    original: &ProduceDataRequest,
    consumer_id: &str,
    stream_id: u16,
) -> ConsumeDataRequest {
    ConsumeDataRequest {
        data_consumer_id: consumer_id.to_owned(),
        data_producer_id: original.data_producer_id.clone(),
        type_: data_consumer::Type::Sctp,
        sctp_stream_parameters: stream(original, stream_id),
        label: original.label.clone(),
        protocol: original.protocol.clone(),
        paused: false,
        subchannels: None,
    }
}

/// The data copy's request, `stream_id` being that of the pipe, none for a direct one.
pub(crate) fn produce_data(
    original: &ProduceDataRequest,
    stream_id: Option<u16>,
    paused: bool,
) -> ProduceDataRequest {
    ProduceDataRequest {
        type_: match stream_id {
            Some(_) => data_producer::Type::Sctp,
            None => data_producer::Type::Direct,
        },
        sctp_stream_parameters: stream_id.and_then(|stream_id| stream(original, stream_id)),
        paused,
        ..original.clone()
    }
}

fn stream(original: &ProduceDataRequest, stream_id: u16) -> Option<Box<SctpStreamParameters>> {
    let mut parameters = original.sctp_stream_parameters.clone()?;
    parameters.stream_id = stream_id;
    Some(parameters)
}

/// What `getPipeConsumerRtpParameters()` leaves of mediasoup's own feedback.
fn feedback(kind: MediaKind, rtx: bool) -> Vec<RtcpFeedback> {
    let feedback = |type_: &str, parameter: &str| RtcpFeedback {
        type_: type_.to_owned(),
        parameter: Some(parameter.to_owned()),
    };
    match kind {
        MediaKind::Audio => Vec::new(),
        MediaKind::Video => {
            let nack = rtx.then(|| feedback("nack", ""));
            let always = [feedback("nack", "pli"), feedback("ccm", "fir")];
            nack.into_iter().chain(always).collect()
        }
    }
}

fn is_rtx(codec: &RtpCodecParameters) -> bool {
    codec.mime_type.to_ascii_lowercase().ends_with("/rtx")
}

/// An RTX codec names the codec that it sends again by payload type.
fn remapped(parameters: &[Parameter], mapped: impl Fn(u8) -> Option<u8>) -> Vec<Parameter> {
    let mut parameters = parameters.to_vec();
    for parameter in parameters.iter_mut().filter(|p| p.name == "apt") {
        if let Value::Integer32(apt) = &mut parameter.value
            && let Some(payload_type) = u8::try_from(apt.value).ok().and_then(&mapped)
        {
            apt.value = payload_type.into();
        }
    }
    parameters
}

/// mediasoup's own ids (`supportedRtpCapabilities.ts`), without MID and bandwidth estimation.
fn header_extensions(
    kind: MediaKind,
    original: &RtpParameters,
) -> Vec<RtpHeaderExtensionParameters> {
    use RtpHeaderExtensionUri as Uri;

    let video = kind == MediaKind::Video;
    // Announced where it will never come, the worker would wait for it.
    let capture_time = original
        .header_extensions
        .iter()
        .any(|e| e.uri == Uri::AbsCaptureTime);
    [
        (Uri::SsrcAudioLevel, 6, !video),
        (Uri::DependencyDescriptor, 7, true),
        (Uri::VideoOrientation, 8, video),
        (Uri::TimeOffset, 9, video),
        (Uri::AbsCaptureTime, 10, capture_time),
        (Uri::PlayoutDelay, 11, true),
        (Uri::MediasoupPacketId, 12, true),
    ]
    .into_iter()
    .filter(|(_, _, wanted)| *wanted)
    .map(|(uri, id, _)| RtpHeaderExtensionParameters {
        uri,
        id,
        encrypt: false,
        parameters: None,
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_channel::fbs::rtp_parameters::Integer32;

    fn codec(mime_type: &str, payload_type: u8, apt: Option<i32>) -> RtpCodecParameters {
        let apt = apt.map(|value| {
            vec![Parameter {
                name: "apt".to_owned(),
                value: Value::Integer32(Box::new(Integer32 { value })),
            }]
        });
        RtpCodecParameters {
            mime_type: mime_type.to_owned(),
            payload_type,
            clock_rate: 90_000,
            channels: None,
            parameters: apt,
            rtcp_feedback: None,
        }
    }

    /// VP8 with RTX, mapped from 96 and 97 to 101 and 102.
    fn request() -> ProduceRequest {
        let encoding = RtpEncodingParameters {
            ssrc: Some(7),
            rtx: Some(Box::new(Rtx { ssrc: 8 })),
            ..Default::default()
        };
        let codecs = [(96, 101), (97, 102)].map(|(from, to)| CodecMapping {
            payload_type: from,
            mapped_payload_type: to,
        });
        ProduceRequest {
            producer_id: "p".to_owned(),
            kind: MediaKind::Video,
            rtp_parameters: Box::new(RtpParameters {
                mid: None,
                codecs: vec![
                    codec("video/VP8", 96, None),
                    codec("video/rtx", 97, Some(96)),
                ],
                header_extensions: vec![],
                encodings: vec![encoding],
                rtcp: Box::default(),
                msid: None,
            }),
            rtp_mapping: Box::new(RtpMapping {
                codecs: codecs.to_vec(),
                encodings: vec![EncodingMapping {
                    rid: None,
                    ssrc: Some(7),
                    mapped_ssrc: 555,
                }],
            }),
            paused: false,
            key_frame_request_delay: 0,
            enable_mediasoup_packet_id_header_extension: false,
        }
    }

    fn parameters(rtx: bool) -> RtpParameters {
        *Media::new(&request(), rtx).consume("p", "c").rtp_parameters
    }

    #[test]
    fn a_pipe_has_the_mapped_types_and_ssrcs() {
        let parameters = parameters(false);
        let codecs: Vec<_> = parameters.codecs.iter().map(|c| c.payload_type).collect();
        assert_eq!(codecs, [101]);
        assert_eq!(
            parameters.codecs[0].rtcp_feedback.as_ref().map(Vec::len),
            Some(2)
        );
        assert_eq!(parameters.encodings[0].ssrc, Some(555));
        assert_eq!(parameters.encodings[0].rtx, None);
    }

    #[test]
    fn with_rtx_what_is_lost_on_a_pipe_is_asked_for_and_sent_again() {
        let parameters = parameters(true);
        let [vp8, rtx] = &parameters.codecs[..] else {
            panic!("{parameters:?}")
        };
        let nacks = vp8.rtcp_feedback.iter().flatten();
        let mut nacks = nacks.filter(|f| f.type_ == "nack");
        assert_eq!(
            nacks.next().and_then(|nack| nack.parameter.as_deref()),
            Some("")
        );
        assert_eq!(
            *rtx,
            RtpCodecParameters {
                rtcp_feedback: Some(vec![]),
                ..codec("video/rtx", 102, Some(101))
            }
        );
        let ssrc = parameters.encodings[0].rtx.as_ref().map(|rtx| rtx.ssrc);
        assert_eq!(ssrc, Some(555 + RTX_SSRC));
        let copy = Media::new(&request(), true).produce("p", false);
        assert_eq!(copy.rtp_mapping.codecs.len(), 2);
    }
}
