//! What an application has seen, in a form that compares.

use crate::program::Step;
use crate::requests::Names;
use bytes::Bytes;
use mafalda_channel::fbs::response::{Body, Response};
use mafalda_channel::{Message, view};
use std::collections::{BTreeMap, BTreeSet};

/// What matters of an answer: accepted, class of the error, body.
pub type Gist = (bool, Option<String>, Option<Body>);

/// Answers by request.
pub type Answers = BTreeMap<u32, Vec<Gist>>;

/// What each handler heard, a consumer the answer that made it included.
pub type Heard = BTreeMap<String, Vec<String>>;

fn gist(response: Response) -> Gist {
    let mut body = response.body;
    match &mut body {
        Some(Body::RouterDumpResponse(dump)) => {
            dump.transport_ids.sort();
            dump.rtp_observer_ids.sort();
            dump.map_consumer_id_producer_id
                .sort_by(|a, b| a.key.cmp(&b.key));
            dump.map_data_consumer_id_data_producer_id
                .sort_by(|a, b| a.key.cmp(&b.key));
            for arrays in [
                &mut dump.map_producer_id_consumer_ids,
                &mut dump.map_producer_id_observer_ids,
                &mut dump.map_data_producer_id_data_consumer_ids,
            ] {
                arrays.sort_by(|a, b| a.key.cmp(&b.key));
                arrays.iter_mut().for_each(|array| array.values.sort());
            }
        }
        Some(Body::WorkerDumpResponse(dump)) => {
            let handlers = &mut dump.channel_message_handlers;
            dump.web_rtc_server_ids.sort();
            dump.router_ids.sort();
            handlers.channel_request_handlers.sort();
            handlers.channel_notification_handlers.sort();
        }
        Some(Body::WebRtcServerDumpResponse(dump)) => {
            dump.web_rtc_transport_ids.sort();
            dump.udp_sockets.clear();
            let fragments = &mut dump.local_ice_username_fragments;
            fragments.sort_by_cached_key(|fragment| fragment.web_rtc_transport_id.clone());
            for fragment in fragments {
                // Each process draws its own.
                fragment.local_ice_username_fragment.clear();
            }
        }
        // What each process draws for itself.
        Some(Body::PlainTransportDumpResponse(dump)) => dump.tuple.local_port = 0,
        Some(Body::WebRtcTransportDumpResponse(dump)) => {
            dump.ice_parameters.username_fragment.clear();
            dump.ice_parameters.password.clear();
            for candidate in &mut dump.ice_candidates {
                candidate.port = 0;
            }
            dump.dtls_parameters.fingerprints.clear();
        }
        _ => {}
    }
    (response.accepted, response.error, body)
}

pub fn sort_out(seen: &[Bytes], program: &[Step], names: Names) -> (Answers, Heard) {
    let mut answers = Answers::new();
    let mut heard = Heard::new();
    for message in seen {
        match view(message).expect("sound") {
            Message::Response(response) => {
                if let Some(Step::Consume(_, _, c, _)) = program.get(response.id as usize)
                    && response.accepted
                {
                    let heard = heard.entry(names.consumer(*c)).or_default();
                    heard.push("made".to_owned());
                }
                let owned = mafalda_channel::response(message).expect("sound");
                answers.entry(response.id).or_default().push(gist(owned));
            }
            Message::Notification(notification) => {
                let event = format!("{:?}", notification.event);
                let handler = notification.handler_id.to_owned();
                heard.entry(handler).or_default().push(event);
            }
            _ => panic!("a virtual worker says no more"),
        }
    }
    (answers, heard)
}

/// What is closed, itself or with its transport, need not hear what was on its way.
pub fn assert_heard(heard: &Heard, ideal: &Heard, program: &[Step], names: Names) {
    let mut cut = BTreeSet::new();
    for (at, step) in program.iter().enumerate() {
        let name = match step {
            Step::Consume(_, _, c, _) => names.consumer(*c),
            Step::Produce(_, p, ..) => names.producer(*p),
            _ => continue,
        };
        let closed = |later: &Step| match (later, step) {
            (Step::CloseTransport(_, closed), Step::Consume(t, ..) | Step::Produce(t, ..)) => {
                closed == t
            }
            (Step::CloseProducer(_, closed, _), Step::Produce(_, p, ..)) => closed == p,
            (Step::CloseRouter(_) | Step::CloseServer(_), _) => true,
            _ => false,
        };
        if program[at..].iter().any(closed) {
            cut.insert(name);
        }
    }
    for (handler, ideal) in ideal {
        let heard = heard.get(handler).map_or(&[][..], Vec::as_slice);
        if cut.contains(handler) {
            let mut rest = ideal.iter();
            let in_order = heard.iter().all(|event| rest.any(|other| other == event));
            assert!(in_order, "{handler}: {heard:?} of {ideal:?}");
        } else {
            assert_eq!(heard, ideal, "{handler}");
        }
    }
    assert!(heard.keys().all(|handler| ideal.contains_key(handler)));
}
