//! Two virtual workers on one member with things of the same id.
//!
//! To an application its virtual workers are two workers, and `pipeToRouter()` makes a producer on the
//! second with the id that it has on the first. A member takes each id once. So the second one goes
//! by another name of the same length there, which is put in place of the id in all messages to
//! members, and the id in place of it in theirs.

use bytes::{Bytes, BytesMut};
use mafalda_channel::fbs::notification::Event;
use mafalda_channel::fbs::response::BodyRef;
use mafalda_channel::{Message, encode_notification, notification, view};
use memchr::memmem;
use std::collections::{HashMap, VecDeque};

/// What an alias begins and ends with. No id of a library has it, so that an alias never makes
/// somebody else's id out of bytes beside it.
const MARK: char = '~';

/// How many names are known on after the thing is gone: answers that are under way may have them.
const KNOWN: usize = 1024;

/// The ids that go by another name.
#[derive(Debug, Default)]
pub struct Aliases {
    by_id: HashMap<String, String>,
    by_alias: HashMap<String, String>,
    /// Aliases of things that are gone, the oldest first.
    gone: VecDeque<String>,
    last: u64,
}

impl Aliases {
    /// Another name for `id`, unique among those of the virtual worker `name`. `None` for an id that
    /// is too short to have one.
    pub fn add(&mut self, id: &str, name: &str) -> Option<String> {
        self.last += 1;
        let inner = format!("{name}.{}", self.last);
        let room = id.len().checked_sub(inner.len() + 2)?;
        let alias = format!("{MARK}{inner}{}{MARK}", "-".repeat(room));
        self.by_id.insert(id.to_owned(), alias.clone());
        self.by_alias.insert(alias.clone(), id.to_owned());
        Some(alias)
    }

    /// The thing is no more.
    pub fn remove(&mut self, id: &str) -> Option<String> {
        let alias = self.by_id.remove(id)?;
        self.gone.push_back(alias.clone());
        if self.gone.len() > KNOWN
            && let Some(oldest) = self.gone.pop_front()
        {
            self.by_alias.remove(&oldest);
        }
        Some(alias)
    }

    /// A message for members.
    pub fn outward(&self, message: Bytes) -> Bytes {
        if self.by_id.is_empty() {
            return message;
        }
        match view(&message) {
            // Media and data: what they carry is nobody's business.
            Ok(Message::Notification(event)) => match self.by_id.get(event.handler_id) {
                Some(alias) => with_handler(&message, alias),
                None => message,
            },
            Ok(Message::Request(_)) => {
                let mut changes = Vec::new();
                for (id, alias) in &self.by_id {
                    let places = memmem::find_iter(&message, id);
                    changes.extend(places.map(|place| (place, alias.as_str())));
                }
                with_changes(message, &changes)
            }
            _ => message,
        }
    }

    /// A message of a member.
    pub fn inward(&self, message: Bytes) -> Bytes {
        if self.by_alias.is_empty() {
            return message;
        }
        if let Ok(Message::Notification(notification)) = view(&message)
            && carries_payload(notification.event)
        {
            return message;
        }
        let mut changes = Vec::new();
        for place in memchr::memchr_iter(MARK as u8, &message) {
            let rest = &message[place + 1..];
            let id = memchr::memchr(MARK as u8, rest)
                .and_then(|end| std::str::from_utf8(&message[place..place + end + 2]).ok())
                .and_then(|alias| self.by_alias.get(alias));
            changes.extend(id.map(|id| (place, id.as_str())));
        }
        if shows_others(&message) {
            // Who has the id there is somebody else.
            for (id, alias) in &self.by_id {
                let places = memmem::find_iter(&message, id);
                changes.extend(places.map(|place| (place, alias.as_str())));
            }
        }
        with_changes(message, &changes)
    }
}

/// Whether an answer of a member is about all that are on it: the dump of a WebRtcServer that all
/// share.
fn shows_others(message: &Bytes) -> bool {
    let Ok(Message::Response(response)) = view(message) else {
        return false;
    };
    matches!(
        response.body(),
        Ok(Some(BodyRef::WebRtcServerDumpResponse(_)))
    )
}

/// A copy with these bytes at these places, or the message itself when there are none.
fn with_changes(message: Bytes, changes: &[(usize, &str)]) -> Bytes {
    if changes.is_empty() {
        return message;
    }
    let mut changed = BytesMut::from(&message[..]);
    for (place, bytes) in changes {
        changed[*place..place + bytes.len()].copy_from_slice(bytes.as_bytes());
    }
    changed.freeze()
}

/// Events of consumers with what came from outside.
fn carries_payload(event: Event) -> bool {
    matches!(
        event,
        Event::ConsumerRtp | Event::DirecttransportRtcp | Event::DataconsumerMessage
    )
}

fn with_handler(message: &Bytes, handler: &str) -> Bytes {
    match notification(message) {
        Ok(mut notification) => {
            notification.handler_id = handler.to_owned();
            encode_notification(&notification)
        }
        Err(_) => message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_channel::fbs::data_producer::SendNotification;
    use mafalda_channel::fbs::notification::{Body, Notification};
    use mafalda_channel::fbs::request::{self, Method, Request};
    use mafalda_channel::fbs::response::{self, Response};
    use mafalda_channel::fbs::transport::CloseProducerRequest;
    use mafalda_channel::fbs::web_rtc_server::{DumpResponse, IceUserNameFragment};
    use mafalda_channel::{check, encode_request, encode_response, request};

    const ID: &str = "39ed4411-d4e3-4af9-aa9c-7b5278fba4ab";

    fn close(producer_id: &str) -> Request {
        let body = CloseProducerRequest {
            producer_id: producer_id.to_owned(),
        };
        Request {
            id: 1,
            method: Method::TransportCloseProducer,
            handler_id: "transport".to_owned(),
            body: Some(request::Body::TransportCloseProducerRequest(Box::new(body))),
        }
    }

    #[test]
    fn what_goes_out_by_another_name_comes_in_by_its_own() {
        let mut aliases = Aliases::default();
        let message = encode_request(&close(ID));
        assert_eq!(aliases.outward(message.clone()), message);
        let alias = aliases.add(ID, "7").unwrap();
        assert_eq!(alias.len(), ID.len());
        let out = aliases.outward(message.clone());
        check(&out).unwrap();
        assert_eq!(request(&out).unwrap(), close(&alias));
        assert_eq!(aliases.inward(out), message);
        assert_eq!(aliases.remove(ID), Some(alias.clone()));
        let late = encode_request(&close(&alias));
        assert_eq!(
            aliases.inward(late),
            message,
            "an answer that was under way"
        );
        assert_eq!(aliases.outward(message.clone()), message);
    }

    #[test]
    fn in_a_dump_of_a_shared_server_who_has_the_id_is_somebody_else() {
        let mut aliases = Aliases::default();
        let alias = aliases.add(ID, "7").unwrap();
        let dump = |transports: [&str; 2]| {
            let ids = transports.map(str::to_owned).to_vec();
            let fragments = ids.iter().zip(["theirs", "mine"]);
            let fragments = fragments.map(|(id, fragment)| IceUserNameFragment {
                local_ice_username_fragment: fragment.to_owned(),
                web_rtc_transport_id: id.clone(),
            });
            let body = DumpResponse {
                id: "server".to_owned(),
                udp_sockets: Vec::new(),
                tcp_servers: Vec::new(),
                local_ice_username_fragments: fragments.collect(),
                web_rtc_transport_ids: ids,
            };
            encode_response(&Response {
                id: 1,
                accepted: true,
                body: Some(response::Body::WebRtcServerDumpResponse(Box::new(body))),
                error: None,
                reason: None,
            })
        };
        let seen = aliases.inward(dump([ID, &alias]));
        assert_eq!(seen, dump([&alias, ID]));
    }

    #[test]
    fn two_never_have_the_same_name() {
        let mut aliases = Aliases::default();
        let names = ["1", "1", "11"].map(|name| aliases.add(ID, name));
        assert!(names[0] != names[1] && names[1] != names[2] && names[0] != names[2]);
        assert_eq!(aliases.add("id", "1"), None);
    }

    #[test]
    fn what_an_application_sends_stays_as_it_is() {
        let mut aliases = Aliases::default();
        let alias = aliases.add(ID, "1").unwrap();
        let send = |handler: &str| {
            encode_notification(&Notification {
                handler_id: handler.to_owned(),
                event: Event::DataproducerSend,
                body: Some(Body::DataProducerSendNotification(Box::new(
                    SendNotification {
                        ppid: 51,
                        data: ID.as_bytes().to_vec(),
                        subchannels: None,
                        ignored_subchannel: None,
                        required_subchannel: None,
                    },
                ))),
            })
        };
        assert_eq!(aliases.outward(send("other")), send("other"));
        assert_eq!(aliases.outward(send(ID)), send(&alias));
    }
}
