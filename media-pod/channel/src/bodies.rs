//! Which body belongs to which method and event.
//!
//! mediasoup's worker takes it for granted: a request whose body is missing or of another kind
//! makes it read at address zero. The pairs are those of `body_as<…>()` in the worker's source.

use mediasoup_sys::fbs::web_rtc_transport::ListenRef;
use mediasoup_sys::fbs::{notification, request};

/// Whether a worker can handle a request of this method with this body.
pub(crate) fn request_fits(
    method: request::Method,
    body: Option<request::BodyRef<'_>>,
) -> planus::Result<bool> {
    use request::BodyRef as Body;
    use request::Method;

    macro_rules! is {
        ($kind:ident) => {
            matches!(body, Some(Body::$kind(_)))
        };
    }

    Ok(match method {
        Method::WorkerUpdateSettings => is!(WorkerUpdateSettingsRequest),
        Method::WorkerCreateWebrtcserver => match body {
            Some(Body::WorkerCreateWebRtcServerRequest(body)) => body.listen_infos()?.is_some(),
            _ => false,
        },
        Method::WorkerCreateRouter => is!(WorkerCreateRouterRequest),
        Method::WorkerWebrtcserverClose => is!(WorkerCloseWebRtcServerRequest),
        Method::WorkerCloseRouter => is!(WorkerCloseRouterRequest),
        Method::RouterCreateWebrtctransport => {
            matches!(listen(body)?, Some(ListenRef::ListenIndividual(_)))
        }
        Method::RouterCreateWebrtctransportWithServer => {
            matches!(listen(body)?, Some(ListenRef::ListenServer(_)))
        }
        Method::RouterCreatePlaintransport => is!(RouterCreatePlainTransportRequest),
        Method::RouterCreatePipetransport => is!(RouterCreatePipeTransportRequest),
        Method::RouterCreateDirecttransport => is!(RouterCreateDirectTransportRequest),
        Method::RouterCloseTransport => is!(RouterCloseTransportRequest),
        Method::RouterCreateActivespeakerobserver => {
            is!(RouterCreateActiveSpeakerObserverRequest)
        }
        Method::RouterCreateAudiolevelobserver => is!(RouterCreateAudioLevelObserverRequest),
        Method::RouterCloseRtpobserver => is!(RouterCloseRtpObserverRequest),
        Method::TransportSetMaxIncomingBitrate => is!(TransportSetMaxIncomingBitrateRequest),
        Method::TransportSetMaxOutgoingBitrate => is!(TransportSetMaxOutgoingBitrateRequest),
        Method::TransportSetMinOutgoingBitrate => is!(TransportSetMinOutgoingBitrateRequest),
        Method::TransportProduce => is!(TransportProduceRequest),
        Method::TransportProduceData => is!(TransportProduceDataRequest),
        Method::TransportConsume => is!(TransportConsumeRequest),
        Method::TransportConsumeData => is!(TransportConsumeDataRequest),
        Method::TransportEnableTraceEvent => is!(TransportEnableTraceEventRequest),
        Method::TransportCloseProducer => is!(TransportCloseProducerRequest),
        Method::TransportCloseConsumer => is!(TransportCloseConsumerRequest),
        Method::TransportCloseDataproducer => is!(TransportCloseDataProducerRequest),
        Method::TransportCloseDataconsumer => is!(TransportCloseDataConsumerRequest),
        Method::PlaintransportConnect => is!(PlainTransportConnectRequest),
        Method::PipetransportConnect => is!(PipeTransportConnectRequest),
        Method::WebrtctransportConnect => is!(WebRtcTransportConnectRequest),
        Method::ProducerEnableTraceEvent => is!(ProducerEnableTraceEventRequest),
        Method::ConsumerSetPreferredLayers => is!(ConsumerSetPreferredLayersRequest),
        Method::ConsumerSetPriority => is!(ConsumerSetPriorityRequest),
        Method::ConsumerEnableTraceEvent => is!(ConsumerEnableTraceEventRequest),
        Method::DataconsumerSetBufferedAmountLowThreshold => {
            is!(DataConsumerSetBufferedAmountLowThresholdRequest)
        }
        Method::DataconsumerSend => is!(DataConsumerSendRequest),
        Method::DataconsumerSetSubchannels => is!(DataConsumerSetSubchannelsRequest),
        Method::DataconsumerAddSubchannel => is!(DataConsumerAddSubchannelRequest),
        Method::DataconsumerRemoveSubchannel => is!(DataConsumerRemoveSubchannelRequest),
        Method::RtpobserverAddProducer => is!(RtpObserverAddProducerRequest),
        Method::RtpobserverRemoveProducer => is!(RtpObserverRemoveProducerRequest),
        // The worker looks at no body of these.
        Method::WorkerDump
        | Method::WorkerGetResourceUsage
        | Method::WebrtcserverDump
        | Method::RouterDump
        | Method::TransportDump
        | Method::TransportGetStats
        | Method::TransportConnect
        | Method::TransportRestartIce
        | Method::ProducerDump
        | Method::ProducerGetStats
        | Method::ProducerPause
        | Method::ProducerResume
        | Method::ConsumerDump
        | Method::ConsumerGetStats
        | Method::ConsumerPause
        | Method::ConsumerResume
        | Method::ConsumerRequestKeyFrame
        | Method::DataproducerDump
        | Method::DataproducerGetStats
        | Method::DataproducerPause
        | Method::DataproducerResume
        | Method::DataconsumerDump
        | Method::DataconsumerGetStats
        | Method::DataconsumerPause
        | Method::DataconsumerResume
        | Method::DataconsumerGetBufferedAmount
        | Method::RtpobserverPause
        | Method::RtpobserverResume => true,
    })
}

/// Whether a worker can handle a notification of this event with this body. Of events that only a
/// worker sends it looks at no body.
pub(crate) fn notification_fits(
    event: notification::Event,
    body: Option<notification::BodyRef<'_>>,
) -> bool {
    use notification::BodyRef as Body;
    use notification::Event;

    match event {
        Event::TransportSendRtcp => matches!(body, Some(Body::TransportSendRtcpNotification(_))),
        Event::ProducerSend => matches!(body, Some(Body::ProducerSendNotification(_))),
        Event::DataproducerSend => matches!(body, Some(Body::DataProducerSendNotification(_))),
        _ => true,
    }
}

fn listen(body: Option<request::BodyRef<'_>>) -> planus::Result<Option<ListenRef<'_>>> {
    match body {
        Some(request::BodyRef::RouterCreateWebRtcTransportRequest(body)) => {
            Ok(Some(body.options()?.listen()?))
        }
        _ => Ok(None),
    }
}
