use super::*;
use crate::translate::{Translator, join};
use mafalda_channel::encode_request;
use mafalda_channel::fbs::request::{self, Body};
use mafalda_channel::fbs::web_rtc_transport::{
    Listen, ListenIndividual, ListenServer, WebRtcTransportOptions,
};
use mafalda_channel::fbs::{self, response};
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// A room of so many WebRtcTransports: how many of both kinds there are.
#[derive(Clone)]
struct Small(Arc<Mutex<(u64, u64)>>, u64);

impl Small {
    fn new(most: u64) -> Self {
        Self(Arc::default(), most)
    }

    fn has(&self) -> (u64, u64) {
        *self.0.lock().unwrap()
    }
}

impl Room for Small {
    fn enter(&self, transport: Transport) -> Result<(), Full> {
        let mut has = self.0.lock().unwrap();
        match transport {
            Transport::WebRtc if has.0 >= self.1 => Err(Full {
                session: "stage".to_owned(),
                limit: 1,
                count: has.0,
            }),
            Transport::WebRtc => {
                has.0 += 1;
                Ok(())
            }
            Transport::Other => {
                has.1 += 1;
                Ok(())
            }
        }
    }

    fn leave(&self, transport: Transport) {
        let mut has = self.0.lock().unwrap();
        match transport {
            Transport::WebRtc => has.0 -= 1,
            Transport::Other => has.1 -= 1,
        }
    }
}

fn encoded(id: u32, method: Method, handler: &str, body: Body) -> Bytes {
    encode_request(&request::Request {
        id,
        method,
        handler_id: handler.to_owned(),
        body: Some(body),
    })
}

fn options() -> fbs::transport::Options {
    fbs::transport::Options {
        direct: false,
        initial_available_outgoing_bitrate: None,
        enable_sctp: false,
        max_send_message_size: 0,
        max_receive_message_size: 0,
        sctp_send_buffer_size: 0,
        sctp_per_stream_send_queue_limit: 0,
        sctp_max_receiver_window_buffer_size: 0,
        sctp_default_stream_buffered_amount_low_threshold: 0,
        is_data_channel: false,
    }
}

/// A WebRtcTransport on a router, with listen infos of its own or on a server.
fn create(id: u32, name: &str, router: &str, server: Option<&str>) -> Bytes {
    let (method, listen) = match server {
        Some(server) => (
            Method::RouterCreateWebrtctransportWithServer,
            Listen::ListenServer(Box::new(ListenServer {
                web_rtc_server_id: server.to_owned(),
            })),
        ),
        None => (
            Method::RouterCreateWebrtctransport,
            Listen::ListenIndividual(Box::new(ListenIndividual {
                listen_infos: Vec::new(),
            })),
        ),
    };
    let body = fbs::router::CreateWebRtcTransportRequest {
        transport_id: name.to_owned(),
        options: Box::new(WebRtcTransportOptions {
            base: Box::new(options()),
            listen,
            enable_udp: true,
            enable_tcp: true,
            prefer_udp: false,
            prefer_tcp: false,
            ice_consent_timeout: 30,
        }),
    };
    let body = Body::RouterCreateWebRtcTransportRequest(Box::new(body));
    encoded(id, method, router, body)
}

fn create_direct(id: u32, name: &str) -> Bytes {
    let body = fbs::router::CreateDirectTransportRequest {
        transport_id: name.to_owned(),
        options: Box::new(fbs::direct_transport::DirectTransportOptions {
            base: Box::new(options()),
        }),
    };
    let body = Body::RouterCreateDirectTransportRequest(Box::new(body));
    encoded(id, Method::RouterCreateDirecttransport, "r", body)
}

fn close(id: u32, name: &str, router: &str) -> Bytes {
    let transport_id = name.to_owned();
    let body = fbs::router::CloseTransportRequest { transport_id };
    let body = Body::RouterCloseTransportRequest(Box::new(body));
    encoded(id, Method::RouterCloseTransport, router, body)
}

fn close_router(id: u32, name: &str) -> Bytes {
    let router_id = name.to_owned();
    let body = fbs::worker::CloseRouterRequest { router_id };
    let body = Body::WorkerCloseRouterRequest(Box::new(body));
    encoded(id, Method::WorkerCloseRouter, "", body)
}

fn close_server(id: u32, name: &str) -> Bytes {
    let web_rtc_server_id = name.to_owned();
    let body = fbs::worker::CloseWebRtcServerRequest { web_rtc_server_id };
    let body = Body::WorkerCloseWebRtcServerRequest(Box::new(body));
    encoded(id, Method::WorkerWebrtcserverClose, "", body)
}

fn answer(id: u32, accepted: bool) -> Bytes {
    encode_response(&response::Response {
        id,
        accepted,
        body: None,
        error: None,
        reason: None,
    })
}

/// Whether the request goes on.
fn passes(seats: &mut Seats, request: &Bytes) -> bool {
    seats.on_request(request).unwrap().is_none()
}

/// Protects a session's limit from an application that asks for many at once, and whoever is refused
/// from guessing why.
#[test]
fn the_one_too_many_is_refused_before_the_others_are_answered() {
    let room = Small::new(2);
    let mut seats = Seats::new(Box::new(room.clone()));
    assert!(passes(&mut seats, &create(1, "a", "r", None)));
    assert!(passes(&mut seats, &create(2, "b", "r", Some("s"))));
    let refused = seats.on_request(&create(3, "c", "r", None)).unwrap();
    let refused = refused.expect("a refusal");
    let Ok(Message::Response(response)) = view(&refused) else {
        panic!("{refused:?}");
    };
    assert_eq!((response.id, response.accepted), (3, false));
    assert_eq!(response.error, Some("Error"));
    let reason = response.reason.unwrap();
    for part in [
        "session stage",
        "2 WebRtcTransports",
        "limit of 1 participants",
    ] {
        assert!(reason.contains(part), "{reason}");
    }
    assert!(
        passes(&mut seats, &create_direct(4, "d")),
        "of no participant"
    );
    assert_eq!(room.has(), (2, 1));
    // Its answer frees no seat: it never had one.
    seats.on_response(&refused);
    assert_eq!(room.has(), (2, 1));
}

#[test]
fn what_the_worker_refuses_and_what_is_closed_has_no_seat() {
    let room = Small::new(9);
    let mut seats = Seats::new(Box::new(room.clone()));
    for (id, name, router, server) in [
        (1, "a", "r", None),
        (2, "b", "r", Some("s")),
        (3, "c", "q", Some("s")),
        (4, "d", "q", None),
    ] {
        assert!(passes(&mut seats, &create(id, name, router, server)));
        seats.on_response(&answer(id, id != 4));
    }
    assert_eq!(room.has(), (3, 0), "one was refused");
    passes(&mut seats, &close(5, "a", "q"));
    assert_eq!(room.has(), (3, 0), "of another router");
    passes(&mut seats, &close(6, "a", "r"));
    assert_eq!(room.has(), (2, 0));
    passes(&mut seats, &close_router(7, "r"));
    assert_eq!(room.has(), (1, 0));
    passes(&mut seats, &close_server(8, "s"));
    assert_eq!(room.has(), (0, 0));
}

/// Protects who rejoins: the next transport is asked for before the end of the last one is confirmed.
#[test]
fn a_seat_is_free_as_soon_as_its_transport_is_to_be_closed() {
    let room = Small::new(1);
    let mut seats = Seats::new(Box::new(room.clone()));
    assert!(passes(&mut seats, &create(1, "a", "r", None)));
    seats.on_response(&answer(1, true));
    assert!(!passes(&mut seats, &create(2, "b", "r", None)));
    passes(&mut seats, &close(3, "a", "r"));
    assert!(passes(&mut seats, &create(4, "b", "r", None)));
    assert_eq!(room.has(), (1, 0));
}

/// Protects those that are there from an application that uses an id twice: the worker refuses the
/// second, and the first is still there.
#[test]
fn an_id_that_is_there_takes_no_second_seat() {
    let room = Small::new(9);
    let mut seats = Seats::new(Box::new(room.clone()));
    assert!(passes(&mut seats, &create(1, "a", "r", None)));
    seats.on_response(&answer(1, true));
    assert!(passes(&mut seats, &create(2, "a", "r", None)));
    seats.on_response(&answer(2, false));
    assert_eq!(room.has(), (1, 0));
}

#[test]
fn what_is_refused_does_not_reach_the_worker() {
    let room = Small::new(1);
    let seats = Seats::new(Box::new(room.clone()));
    let mut translator = Translator::new(None, Arc::default()).with_seats(Some(seats));
    let requests = [1, 2].map(|id| create(id, &format!("t{id}"), "r", None));
    let inbound = translator.inbound(&join(&requests));
    assert_eq!(inbound.to_worker, requests[..1]);
    assert_eq!(inbound.to_application.len(), 1);
    assert_eq!((inbound.messages, inbound.malformed), (2, 0));
    translator.outbound(answer(1, false)).unwrap();
    assert_eq!(room.has(), (0, 0), "the worker did not make it");
    translator.inbound(&requests[1]);
    translator.leave();
    assert_eq!(room.has(), (0, 0), "the application is gone");
}

#[test]
fn an_application_that_goes_leaves_all_seats() {
    let room = Small::new(9);
    let mut seats = Seats::new(Box::new(room.clone()));
    passes(&mut seats, &create(1, "a", "r", None));
    passes(&mut seats, &create_direct(2, "b"));
    seats.free_all();
    assert_eq!(room.has(), (0, 0));
    seats.on_response(&answer(1, false));
    passes(&mut seats, &create(3, "c", "r", None));
    drop(seats);
    assert_eq!(room.has(), (0, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is asked for and answered, there are as many seats as transports that are there or
    /// asked for, and never more than there is room for.
    #[test]
    fn seats_are_those_of_a_simple_model(
        steps in prop::collection::vec((0..4u8, 0..6u8, 0..2u8, prop::bool::ANY), 0..80),
    ) {
        let room = Small::new(3);
        let mut seats = Seats::new(Box::new(room.clone()));
        let mut there: HashSet<(u8, u8)> = HashSet::new();
        let mut id = 0;
        for (step, name, router, accepted) in steps {
            id += 1;
            let (of, on) = (format!("t{name}"), format!("r{router}"));
            let is_used = there.iter().any(|(used, _)| *used == name);
            match step {
                0 | 1 => {
                    let goes_on = passes(&mut seats, &create(id, &of, &on, None));
                    prop_assert_eq!(goes_on, is_used || there.len() < 3);
                    if goes_on {
                        // Of an id that is there, the worker has one already.
                        let accepted = accepted && !is_used;
                        seats.on_response(&answer(id, accepted));
                        if accepted {
                            there.insert((name, router));
                        }
                    }
                }
                2 => {
                    passes(&mut seats, &close(id, &of, &on));
                    there.remove(&(name, router));
                }
                _ => {
                    passes(&mut seats, &close_router(id, &on));
                    there.retain(|(_, of)| *of != router);
                }
            }
            prop_assert_eq!(room.has(), (there.len() as u64, 0));
        }
    }
}
