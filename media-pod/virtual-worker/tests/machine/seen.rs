//! What an application has seen, in a form that compares.

use crate::model::{Model, Thing};
use crate::program::Step;
use crate::requests::Names;
use crate::world::World;
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
        Some(Body::WebRtcServerDumpResponse(dump)) => dump.web_rtc_transport_ids.sort(),
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

fn ours(id: &str) -> bool {
    id.starts_with("mafalda/")
}

/// Each copy has a use, and nothing of ours is without a copy.
pub fn assert_nothing_useless(world: &World) {
    for member in &world.members {
        let model = &member.model;
        let mut used = BTreeSet::new();
        for (id, thing) in &model.things {
            match thing {
                Thing::Producer { transport, .. } if ours(transport) => {
                    let uses = model.things.values().any(|t| match t {
                        Thing::Consumer { producer, .. } => producer == id,
                        Thing::Observer { producers, .. } => producers.contains(id),
                        _ => false,
                    });
                    assert!(uses, "the copy {id} has no use");
                    used.insert(transport);
                }
                Thing::Consumer { transport, .. } if ours(id) => {
                    used.insert(transport);
                }
                _ => {}
            }
        }
        for (id, thing) in &model.things {
            let transport = matches!(thing, Thing::Transport { .. });
            let useless = transport && ours(id) && !used.contains(id);
            assert!(!useless, "{id} has no use");
        }
        let empty = |router: &String| {
            !model.things.values().any(|t| match t {
                Thing::Transport { router: of, .. } | Thing::Observer { router: of, .. } => {
                    of == router
                }
                _ => false,
            })
        };
        assert!(!model.routers.iter().any(empty), "an empty router");
    }
    assert_pipes_are_needed(world);
}

/// A producer is piped to a member if that has a use for it, or passes it on; and once.
fn assert_pipes_are_needed(world: &World) {
    let mut pipes = 0;
    let mut copies = 0;
    for Model { things, .. } in world.members.iter().map(|member| &member.model) {
        for (id, thing) in things {
            match thing {
                Thing::Consumer { .. } if ours(id) => pipes += 1,
                // A direct data producer is repeated, not piped.
                Thing::Producer { transport, .. } if ours(transport) => {
                    copies += usize::from(is_piped(things, transport));
                }
                _ => {}
            }
        }
    }
    assert_eq!(pipes, copies);
}

fn is_piped(things: &BTreeMap<String, Thing>, transport: &str) -> bool {
    matches!(
        things.get(transport),
        Some(Thing::Transport { pipe: true, .. })
    )
}

/// Ids that an application has on its members: those of things, without routers and servers.
pub fn things_on_members(world: &World) -> BTreeSet<String> {
    let models = world.members.iter().map(|member| &member.model);
    let ids = models.flat_map(|model| model.things.keys());
    ids.filter(|id| !ours(id)).cloned().collect()
}

/// The ids that a tenant owns.
pub fn owned_by(world: &World, tenant: usize) -> BTreeSet<String> {
    let owners = world.owners.iter();
    let own = owners.filter(|(_, owner)| **owner == tenant);
    own.map(|(id, _)| id.clone()).collect()
}

/// All ids that a worker knows.
pub fn ids_of(model: &Model) -> BTreeSet<String> {
    let ids = model.things.keys().chain(&model.routers);
    ids.chain(&model.servers).cloned().collect()
}
