//! The workers of a test: the ideal, and the members of virtual workers. They serve one program after
//! the other, so that what one leaves behind shows in the next.

use crate::process::{Said, Worker};
use crate::settings::MEMBER_SERVER;
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Method, Request};
use mafalda_channel::fbs::{response, worker};
use mafalda_channel::{Message, encode_request, view};
use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long a test waits for a message before it fails.
const DEADLINE: Duration = Duration::from_secs(20);

/// Of requests that no application and no virtual worker makes.
const OUR_REQUEST: u32 = 0x7fff_ffff;

pub struct Fleet {
    ideal: Worker,
    ideal_said: Receiver<Said>,
    members: Vec<Worker>,
    members_said: Receiver<Said>,
}

fn next(said: &Receiver<Said>) -> (usize, Bytes) {
    match said.recv_timeout(DEADLINE) {
        Ok((index, Some(message))) => (index, message),
        Ok((index, None)) => panic!("the worker {index} has ended"),
        Err(error) => panic!("no worker says anything: {error}"),
    }
}

fn is_response(message: &Bytes) -> bool {
    matches!(view(message).expect("sound"), Message::Response(_))
}

/// Asks this worker, and nothing else may be under way to it or from it.
fn ask(
    worker: &mut Worker,
    said: &Receiver<Said>,
    method: Method,
    body: Option<Body>,
) -> Option<response::Body> {
    worker.send(&encode_request(&Request {
        id: OUR_REQUEST,
        method,
        handler_id: String::new(),
        body,
    }));
    let (_, message) = next(said);
    let response = mafalda_channel::response(&message).expect("the answer");
    assert!(response.accepted, "{response:?}");
    response.body
}

/// The ids of all that is on this worker.
fn dump(worker: &mut Worker, said: &Receiver<Said>) -> BTreeSet<String> {
    let answer = ask(worker, said, Method::WorkerDump, None);
    let Some(response::Body::WorkerDumpResponse(dump)) = answer else {
        panic!("the answer holds {answer:?}");
    };
    let handlers = *dump.channel_message_handlers;
    let lists = [
        dump.web_rtc_server_ids,
        dump.router_ids,
        handlers.channel_request_handlers,
        handlers.channel_notification_handlers,
    ];
    lists.into_iter().flatten().collect()
}

impl Fleet {
    /// Each member has the server for members.
    pub fn start(members: usize) -> Self {
        let (to_ideal, ideal_said) = channel();
        let (to_members, members_said) = channel();
        let mut fleet = Self {
            ideal: Worker::start(0, to_ideal),
            members: (0..members)
                .map(|index| Worker::start(index, to_members.clone()))
                .collect(),
            ideal_said,
            members_said,
        };
        // Each says that it runs.
        next(&fleet.ideal_said);
        for _ in 0..members {
            next(&fleet.members_said);
        }
        for member in &mut fleet.members {
            let body = worker::CreateWebRtcServerRequest {
                web_rtc_server_id: MEMBER_SERVER.to_owned(),
                listen_infos: Some(vec![crate::requests::listen_info()]),
            };
            let body = Body::WorkerCreateWebRtcServerRequest(Box::new(body));
            let method = Method::WorkerCreateWebrtcserver;
            ask(member, &fleet.members_said, method, Some(body));
        }
        fleet
    }

    pub fn ideal_pid(&self) -> u32 {
        self.ideal.pid()
    }

    /// All that the ideal says to these requests.
    pub fn ask_ideal(&mut self, requests: impl Iterator<Item = Bytes>) -> Vec<Bytes> {
        let mut missing = 0;
        for request in requests {
            self.ideal.send(&request);
            missing += 1;
        }
        let mut seen = Vec::new();
        while missing > 0 {
            let (_, message) = next(&self.ideal_said);
            missing -= usize::from(is_response(&message));
            seen.push(message);
        }
        seen
    }

    /// The ids of all that is on the ideal.
    pub fn dump_ideal(&mut self) -> BTreeSet<String> {
        dump(&mut self.ideal, &self.ideal_said)
    }

    pub fn send(&mut self, member: usize, message: &[u8]) {
        self.members[member].send(message);
    }

    /// The next message of any member, waited for.
    pub fn next(&mut self) -> (usize, Bytes) {
        next(&self.members_said)
    }

    /// A message that is here already.
    pub fn arrived(&mut self) -> Option<(usize, Bytes)> {
        let (index, message) = self.members_said.try_recv().ok()?;
        Some((index, message.expect("the worker lives")))
    }

    /// Nothing is left on any member.
    pub fn assert_empty(&mut self) {
        for (index, member) in self.members.iter_mut().enumerate() {
            let left = dump(member, &self.members_said);
            let own = BTreeSet::from([MEMBER_SERVER.to_owned()]);
            assert_eq!(left, own, "on member {index}");
        }
    }
}
