//! What a worker tells of itself.

use super::{Model, Thing};
use mafalda_channel::fbs::common::{StringString, StringStringArray};
use mafalda_channel::fbs::response;
use mafalda_channel::fbs::srtp_parameters::{SrtpCryptoSuite, SrtpParameters};
use mafalda_channel::fbs::web_rtc_server::IceUserNameFragment;
use mafalda_channel::fbs::{pipe_transport, router, transport, web_rtc_server, worker};

impl Model {
    pub fn router_dump(&self, router_id: &str) -> response::Body {
        let of_router = self.of_router(router_id);
        let mut dump = router::DumpResponse {
            id: router_id.to_owned(),
            transport_ids: vec![],
            rtp_observer_ids: vec![],
            map_producer_id_consumer_ids: vec![],
            map_consumer_id_producer_id: vec![],
            map_producer_id_observer_ids: vec![],
            map_data_producer_id_data_consumer_ids: vec![],
            map_data_consumer_id_data_producer_id: vec![],
        };
        for id in &of_router {
            match &self.things[id] {
                Thing::Transport { .. } => dump.transport_ids.push(id.clone()),
                Thing::Observer { .. } => dump.rtp_observer_ids.push(id.clone()),
                Thing::Producer { data, .. } => {
                    let consumes =
                        |t: &Thing| matches!(t, Thing::Consumer { producer, .. } if producer == id);
                    let observes = |t: &Thing| matches!(t, Thing::Observer { producers, .. } if producers.contains(id));
                    let users = |uses: &dyn Fn(&Thing) -> bool| StringStringArray {
                        key: id.clone(),
                        values: self
                            .things
                            .iter()
                            .filter(|(_, t)| uses(t))
                            .map(|(id, _)| id.clone())
                            .collect(),
                    };
                    if *data {
                        dump.map_data_producer_id_data_consumer_ids
                            .push(users(&consumes));
                    } else {
                        dump.map_producer_id_consumer_ids.push(users(&consumes));
                        dump.map_producer_id_observer_ids.push(users(&observes));
                    }
                }
                Thing::Consumer { producer, data, .. } => {
                    let entry = StringString {
                        key: id.clone(),
                        value: producer.clone(),
                    };
                    match data {
                        true => dump.map_data_consumer_id_data_producer_id.push(entry),
                        false => dump.map_consumer_id_producer_id.push(entry),
                    }
                }
            }
        }
        response::Body::RouterDumpResponse(Box::new(dump))
    }

    pub fn worker_dump(&self) -> response::Body {
        let things = self.things.iter();
        let notified =
            things.filter(|(_, t)| matches!(t, Thing::Transport { .. } | Thing::Producer { .. }));
        let ids = self.things.keys().chain(&self.routers).chain(&self.servers);
        response::Body::WorkerDumpResponse(Box::new(worker::DumpResponse {
            pid: 1,
            web_rtc_server_ids: self.servers.iter().cloned().collect(),
            router_ids: self.routers.iter().cloned().collect(),
            channel_message_handlers: Box::new(worker::ChannelMessageHandlers {
                channel_notification_handlers: notified.map(|(id, _)| id.clone()).collect(),
                channel_request_handlers: ids.cloned().collect(),
            }),
        }))
    }

    pub fn server_dump(&self, id: &str) -> response::Body {
        let transports = self.on_server(id);
        let fragments = transports.iter().map(|id| IceUserNameFragment {
            local_ice_username_fragment: format!("of {id}"),
            web_rtc_transport_id: id.clone(),
        });
        response::Body::WebRtcServerDumpResponse(Box::new(web_rtc_server::DumpResponse {
            id: id.to_owned(),
            udp_sockets: vec![],
            tcp_servers: vec![],
            local_ice_username_fragments: fragments.collect(),
            web_rtc_transport_ids: transports,
        }))
    }
}

/// A thousand bytes, eight kilobits a second.
pub fn pipe_stats(id: &str) -> response::Body {
    let base = transport::Stats {
        transport_id: id.to_owned(),
        bytes_sent: 1000,
        send_bitrate: 8000,
        ..stats()
    };
    response::Body::PipeTransportGetStatsResponse(Box::new(pipe_transport::GetStatsResponse {
        base: Box::new(base),
        tuple: Box::new(tuple(1)),
    }))
}

/// Of a new pipe transport.
pub fn pipe(id: String, port: u16, srtp: bool) -> response::Body {
    let srtp_parameters = srtp.then(|| {
        Box::new(SrtpParameters {
            crypto_suite: SrtpCryptoSuite::AeadAes256Gcm,
            key_base64: format!("key of {id}"),
        })
    });
    let base = transport::Dump {
        id,
        direct: false,
        producer_ids: vec![],
        consumer_ids: vec![],
        map_ssrc_consumer_id: vec![],
        map_rtx_ssrc_consumer_id: vec![],
        data_producer_ids: vec![],
        data_consumer_ids: vec![],
        recv_rtp_header_extensions: Box::default(),
        rtp_listener: Box::new(transport::RtpListener {
            ssrc_table: vec![],
            mid_table: vec![],
            rid_table: vec![],
        }),
        max_send_message_size: 0,
        max_receive_message_size: 0,
        sctp_parameters: None,
        sctp_state: None,
        sctp_negotiated_capabilities: None,
        sctp_listener: None,
        trace_event_types: vec![],
    };
    response::Body::PipeTransportDumpResponse(Box::new(pipe_transport::DumpResponse {
        base: Box::new(base),
        tuple: Box::new(tuple(port)),
        rtx: false,
        srtp_parameters,
    }))
}

fn tuple(port: u16) -> transport::Tuple {
    transport::Tuple {
        local_address: "127.0.0.1".to_owned(),
        local_port: port,
        remote_ip: None,
        remote_port: 0,
        protocol: transport::Protocol::Udp,
    }
}

fn stats() -> transport::Stats {
    transport::Stats {
        transport_id: String::new(),
        timestamp: 0,
        sctp_state: None,
        bytes_received: 0,
        recv_bitrate: 0,
        bytes_sent: 0,
        send_bitrate: 0,
        rtp_bytes_received: 0,
        rtp_recv_bitrate: 0,
        rtp_bytes_sent: 0,
        rtp_send_bitrate: 0,
        rtx_bytes_received: 0,
        rtx_recv_bitrate: 0,
        rtx_bytes_sent: 0,
        rtx_send_bitrate: 0,
        probation_bytes_sent: 0,
        probation_send_bitrate: 0,
        available_outgoing_bitrate: None,
        available_incoming_bitrate: None,
        max_incoming_bitrate: None,
        max_outgoing_bitrate: None,
        min_outgoing_bitrate: None,
        rtp_packet_loss_received: None,
        rtp_packet_loss_sent: None,
    }
}
