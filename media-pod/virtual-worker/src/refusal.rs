//! Why a request is refused, in the words of mediasoup's worker.

use mafalda_channel::fbs::request::Method;

/// An answer that says no.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    /// `Error`, `TypeError` or `NotFoundError`.
    pub class: &'static str,
    pub reason: String,
}

impl Refusal {
    fn error(reason: String) -> Self {
        Self {
            class: "Error",
            reason,
        }
    }

    pub fn type_error(reason: String) -> Self {
        Self {
            class: "TypeError",
            reason,
        }
    }

    /// `Worker::HandleRequest`
    pub fn no_handler(handler: &str, method: Method) -> Self {
        let method = name(method);
        Self {
            class: "NotFoundError",
            reason: format!(
                "Channel request handler with ID {handler} not found [method:{method}]"
            ),
        }
    }

    /// `AssertAndGet…ById` of worker and router
    pub fn not_found(what: &str, method: Method) -> Self {
        Self {
            class: "NotFoundError",
            reason: format!("{what} not found [method:{}]", name(method)),
        }
    }

    /// `Router::OnTransportNewConsumer`
    pub fn no_producer(id: &str, data: bool) -> Self {
        let (what, key) = match data {
            false => ("Producer", "producerId"),
            true => ("DataProducer", "dataProducerId"),
        };
        Self {
            class: "NotFoundError",
            reason: format!("{what} not found [{key}:{id}]"),
        }
    }

    /// `CheckNo…` of worker, router and transport
    pub fn exists(what: &str, method: Method) -> Self {
        Self::error(format!("{what} already exists [method:{}]", name(method)))
    }

    /// `ChannelMessageRegistrator::RegisterHandler`
    pub fn handler_exists(id: &str) -> Self {
        Self::error(format!(
            "Channel request handler with ID {id} already exists"
        ))
    }

    /// Any `HandleRequest`
    pub fn unknown_method(method: Method) -> Self {
        Self::error(format!("unknown method '{}'", name(method)))
    }

    /// `Router::HandleRequest`
    pub fn no_server() -> Self {
        Self::error("wrong webRtcServerId (no associated WebRtcServer found)".to_owned())
    }

    pub fn nobody() -> Self {
        Self::error("there is no worker".to_owned())
    }

    pub fn died() -> Self {
        Self::error("the worker that was asked has died".to_owned())
    }
}

/// What mediasoup's worker calls a method (`ChannelRequest.cpp`).
fn name(method: Method) -> &'static str {
    match method {
        Method::WorkerDump => "worker.dump",
        Method::WorkerGetResourceUsage => "worker.getResourceUsage",
        Method::WorkerUpdateSettings => "worker.updateSettings",
        Method::WorkerCreateWebrtcserver => "worker.createWebRtcServer",
        Method::WorkerCreateRouter => "worker.createRouter",
        Method::WorkerWebrtcserverClose => "worker.closeWebRtcServer",
        Method::WorkerCloseRouter => "worker.closeRouter",
        Method::WebrtcserverDump => "webRtcServer.dump",
        Method::RouterDump => "router.dump",
        Method::RouterCreateWebrtctransport => "router.createWebRtcTransport",
        Method::RouterCreateWebrtctransportWithServer => "router.createWebRtcTransportWithServer",
        Method::RouterCreatePlaintransport => "router.createPlainTransport",
        Method::RouterCreatePipetransport => "router.createPipeTransport",
        Method::RouterCreateDirecttransport => "router.createDirectTransport",
        Method::RouterCloseTransport => "router.closeTransport",
        Method::RouterCreateActivespeakerobserver => "router.createActiveSpeakerObserver",
        Method::RouterCreateAudiolevelobserver => "router.createAudioLevelObserver",
        Method::RouterCloseRtpobserver => "router.closeRtpObserver",
        Method::TransportDump => "transport.dump",
        Method::TransportGetStats => "transport.getStats",
        Method::TransportConnect => "transport.connect",
        Method::TransportSetMaxIncomingBitrate => "transport.setMaxIncomingBitrate",
        Method::TransportSetMaxOutgoingBitrate => "transport.setMaxOutgoingBitrate",
        Method::TransportSetMinOutgoingBitrate => "transport.setMinOutgoingBitrate",
        Method::TransportRestartIce => "transport.restartIce",
        Method::TransportProduce => "transport.produce",
        Method::TransportProduceData => "transport.produceData",
        Method::TransportConsume => "transport.consume",
        Method::TransportConsumeData => "transport.consumeData",
        Method::TransportEnableTraceEvent => "transport.enableTraceEvent",
        Method::TransportCloseProducer => "transport.closeProducer",
        Method::TransportCloseConsumer => "transport.closeConsumer",
        Method::TransportCloseDataproducer => "transport.closeDataProducer",
        Method::TransportCloseDataconsumer => "transport.closeDataConsumer",
        Method::PlaintransportConnect => "plainTransport.connect",
        Method::PipetransportConnect => "pipeTransport.connect",
        Method::WebrtctransportConnect => "webRtcTransport.connect",
        Method::ProducerDump => "producer.dump",
        Method::ProducerGetStats => "producer.getStats",
        Method::ProducerPause => "producer.pause",
        Method::ProducerResume => "producer.resume",
        Method::ProducerEnableTraceEvent => "producer.enableTraceEvent",
        Method::ConsumerDump => "consumer.dump",
        Method::ConsumerGetStats => "consumer.getStats",
        Method::ConsumerPause => "consumer.pause",
        Method::ConsumerResume => "consumer.resume",
        Method::ConsumerSetPreferredLayers => "consumer.setPreferredLayers",
        Method::ConsumerSetPriority => "consumer.setPriority",
        Method::ConsumerRequestKeyFrame => "consumer.requestKeyFrame",
        Method::ConsumerEnableTraceEvent => "consumer.enableTraceEvent",
        Method::DataproducerDump => "dataProducer.dump",
        Method::DataproducerGetStats => "dataProducer.getStats",
        Method::DataproducerPause => "dataProducer.pause",
        Method::DataproducerResume => "dataProducer.resume",
        Method::DataconsumerDump => "dataConsumer.dump",
        Method::DataconsumerGetStats => "dataConsumer.getStats",
        Method::DataconsumerPause => "dataConsumer.pause",
        Method::DataconsumerResume => "dataConsumer.resume",
        Method::DataconsumerGetBufferedAmount => "dataConsumer.getBufferedAmount",
        Method::DataconsumerSetBufferedAmountLowThreshold => {
            "dataConsumer.setBufferedAmountLowThreshold"
        }
        Method::DataconsumerSend => "dataConsumer.send",
        Method::DataconsumerSetSubchannels => "dataConsumer.setSubchannels",
        Method::DataconsumerAddSubchannel => "dataConsumer.addSubchannel",
        Method::DataconsumerRemoveSubchannel => "dataConsumer.removeSubchannel",
        Method::RtpobserverPause => "rtpObserver.pause",
        Method::RtpobserverResume => "rtpObserver.resume",
        Method::RtpobserverAddProducer => "rtpObserver.addProducer",
        Method::RtpobserverRemoveProducer => "rtpObserver.removeProducer",
    }
}
