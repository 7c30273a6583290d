//! The answer for the whole, made of each member's.

use crate::state::{INTERNAL, Id, MemberId};
use mafalda_channel::fbs::common::StringStringArray;
use mafalda_channel::fbs::response::{Body, Response};
use mafalda_channel::fbs::{router, worker};
use std::collections::{HashMap, HashSet};

/// Answers being collected.
#[derive(Debug)]
pub(crate) struct Gather {
    /// The application's request.
    pub id: u32,
    pub missing: HashSet<MemberId>,
    pub answers: Vec<(MemberId, Response)>,
}

impl Gather {
    /// The one answer. A refusal of one is the answer of all.
    ///
    /// `routers` are the application's, of which some may be on no member; `process_id` is what it
    /// takes for its worker's.
    pub fn merged(mut self, routers: &[Id], process_id: u32) -> Response {
        // Members answer in any order; the answer does not depend on it.
        self.answers.sort_by_key(|(member, _)| *member);
        let mut answers = self.answers.into_iter().map(|(_, answer)| answer);
        let Some(mut merged) = answers.next() else {
            return crate::messages::refusal(self.id, "Error", "no member answered");
        };
        for answer in answers {
            if !merged.accepted {
                break;
            }
            if !answer.accepted {
                merged = answer;
                break;
            }
            match (&mut merged.body, answer.body) {
                (Some(Body::WorkerDumpResponse(all)), Some(Body::WorkerDumpResponse(one))) => {
                    add_worker_dump(all, *one);
                }
                (
                    Some(Body::WorkerResourceUsageResponse(all)),
                    Some(Body::WorkerResourceUsageResponse(one)),
                ) => add_usage(all, &one),
                (Some(Body::RouterDumpResponse(all)), Some(Body::RouterDumpResponse(one))) => {
                    add_router_dump(all, *one);
                }
                _ => {}
            }
        }
        merged.id = self.id;
        match &mut merged.body {
            Some(Body::WorkerDumpResponse(dump)) => complete_worker_dump(dump, routers, process_id),
            Some(Body::RouterDumpResponse(dump)) => clean_router_dump(dump),
            _ => {}
        }
        merged
    }
}

fn is_ours(id: &str) -> bool {
    id.starts_with(INTERNAL)
}

fn add_worker_dump(all: &mut worker::DumpResponse, one: worker::DumpResponse) {
    all.web_rtc_server_ids.extend(one.web_rtc_server_ids);
    let handlers = &mut all.channel_message_handlers;
    let more = *one.channel_message_handlers;
    handlers
        .channel_request_handlers
        .extend(more.channel_request_handlers);
    handlers
        .channel_notification_handlers
        .extend(more.channel_notification_handlers);
}

fn complete_worker_dump(dump: &mut worker::DumpResponse, routers: &[Id], process_id: u32) {
    dump.pid = process_id;
    dump.router_ids = routers.to_vec();
    let handlers = &mut dump.channel_message_handlers;
    handlers
        .channel_request_handlers
        .extend(routers.iter().cloned());
    for ids in [
        &mut handlers.channel_request_handlers,
        &mut handlers.channel_notification_handlers,
    ] {
        // Copies have their original's id.
        let mut seen = HashSet::new();
        ids.retain(|id| !is_ours(id) && seen.insert(id.clone()));
    }
}

fn add_usage(all: &mut worker::ResourceUsageResponse, one: &worker::ResourceUsageResponse) {
    macro_rules! add {
        ($($field:ident)*) => { $(all.$field = all.$field.saturating_add(one.$field);)* };
    }
    add!(ru_utime ru_stime ru_maxrss ru_ixrss ru_idrss ru_isrss ru_minflt ru_majflt ru_nswap);
    add!(ru_inblock ru_oublock ru_msgsnd ru_msgrcv ru_nsignals ru_nvcsw ru_nivcsw);
}

fn add_router_dump(all: &mut router::DumpResponse, one: router::DumpResponse) {
    all.transport_ids.extend(one.transport_ids);
    all.rtp_observer_ids.extend(one.rtp_observer_ids);
    all.map_producer_id_consumer_ids
        .extend(one.map_producer_id_consumer_ids);
    all.map_consumer_id_producer_id
        .extend(one.map_consumer_id_producer_id);
    all.map_producer_id_observer_ids
        .extend(one.map_producer_id_observer_ids);
    all.map_data_producer_id_data_consumer_ids
        .extend(one.map_data_producer_id_data_consumer_ids);
    all.map_data_consumer_id_data_producer_id
        .extend(one.map_data_consumer_id_data_producer_id);
}

fn clean_router_dump(dump: &mut router::DumpResponse) {
    dump.transport_ids.retain(|id| !is_ours(id));
    dump.map_consumer_id_producer_id
        .retain(|entry| !is_ours(&entry.key));
    dump.map_data_consumer_id_data_producer_id
        .retain(|entry| !is_ours(&entry.key));
    join(&mut dump.map_producer_id_consumer_ids);
    join(&mut dump.map_producer_id_observer_ids);
    join(&mut dump.map_data_producer_id_data_consumer_ids);
}

/// One entry a producer, without what is ours.
fn join(entries: &mut Vec<StringStringArray>) {
    let mut joined: Vec<StringStringArray> = Vec::with_capacity(entries.len());
    let mut places = HashMap::new();
    for mut entry in entries.drain(..) {
        entry.values.retain(|id| !is_ours(id));
        match places.get(&entry.key) {
            Some(&place) => {
                let joined: &mut StringStringArray = &mut joined[place];
                joined.values.extend(entry.values);
            }
            None => {
                places.insert(entry.key.clone(), joined.len());
                joined.push(entry);
            }
        }
    }
    *entries = joined;
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_channel::fbs::common::StringString;

    fn strings(ids: &[&str]) -> Vec<String> {
        ids.iter().map(|&id| id.to_owned()).collect()
    }

    fn array(key: &str, values: &[&str]) -> StringStringArray {
        StringStringArray {
            key: key.to_owned(),
            values: strings(values),
        }
    }

    fn answer(id: u32, body: Body) -> Response {
        Response {
            id,
            accepted: true,
            body: Some(body),
            error: None,
            reason: None,
        }
    }

    fn gather(answers: Vec<(MemberId, Response)>) -> Gather {
        Gather {
            id: 7,
            missing: HashSet::new(),
            answers,
        }
    }

    #[test]
    fn a_router_dump_is_that_of_one_router_and_shows_nothing_of_ours() {
        let dump = |transports: &[&str], consumers: Vec<StringStringArray>, consumer: &str| {
            Body::RouterDumpResponse(Box::new(router::DumpResponse {
                id: "router".to_owned(),
                transport_ids: strings(transports),
                rtp_observer_ids: Vec::new(),
                map_producer_id_consumer_ids: consumers,
                map_consumer_id_producer_id: vec![StringString {
                    key: consumer.to_owned(),
                    value: "p".to_owned(),
                }],
                map_producer_id_observer_ids: Vec::new(),
                map_data_producer_id_data_consumer_ids: Vec::new(),
                map_data_consumer_id_data_producer_id: Vec::new(),
            }))
        };
        let source = dump(
            &["t1", "mafalda/1"],
            vec![array("p", &["mafalda/3"])],
            "mafalda/3",
        );
        let target = dump(&["mafalda/2", "t2"], vec![array("p", &["c"])], "c");
        let merged = gather(vec![
            (MemberId(2), answer(1, target)),
            (MemberId(1), answer(9, source)),
        ])
        .merged(&[], 1);
        assert_eq!((merged.id, merged.accepted), (7, true));
        let expected = dump(&["t1", "t2"], vec![array("p", &["c"])], "c");
        assert_eq!(merged.body, Some(expected));
    }

    #[test]
    fn a_worker_dump_names_routers_that_are_nowhere_and_copies_once() {
        let dump = |pid, routers: &[&str], handlers: &[&str]| {
            Body::WorkerDumpResponse(Box::new(worker::DumpResponse {
                pid,
                web_rtc_server_ids: Vec::new(),
                router_ids: strings(routers),
                channel_message_handlers: Box::new(worker::ChannelMessageHandlers {
                    channel_request_handlers: strings(handlers),
                    channel_notification_handlers: Vec::new(),
                }),
            }))
        };
        let one = dump(11, &["r1"], &["r1", "p", "mafalda/1"]);
        let two = dump(12, &["r1"], &["r1", "p", "mafalda/2"]);
        let merged = gather(vec![
            (MemberId(1), answer(1, one)),
            (MemberId(2), answer(1, two)),
        ])
        .merged(&strings(&["r1", "r2"]), 99);
        assert_eq!(
            merged.body,
            Some(dump(99, &["r1", "r2"], &["r1", "p", "r2"]))
        );
    }

    #[test]
    fn one_refusal_is_the_answer() {
        let refused = crate::messages::refusal(3, "TypeError", "no");
        let accepted = Response {
            body: None,
            ..answer(3, one_body())
        };
        let merged = gather(vec![(MemberId(1), accepted), (MemberId(2), refused)]).merged(&[], 1);
        assert_eq!(merged.reason.as_deref(), Some("no"));
        assert_eq!(merged.id, 7);
    }

    fn one_body() -> Body {
        Body::WorkerResourceUsageResponse(Box::default())
    }
}
