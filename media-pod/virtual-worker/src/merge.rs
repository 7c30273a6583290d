//! The answer for the whole, made of each member's.

use crate::messages::{acceptance, refusal};
use crate::refusal::Refusal;
use crate::state::{INTERNAL, Id, MemberId};
use mafalda_channel::fbs::common::StringStringArray;
use mafalda_channel::fbs::response::{Body, Response};
use mafalda_channel::fbs::{router, web_rtc_server, worker};
use std::collections::{HashMap, HashSet};

/// Answers being collected.
#[derive(Debug)]
pub(crate) struct Gather {
    /// The application's request.
    pub id: u32,
    pub whole: Whole,
    pub missing: HashSet<MemberId>,
    pub answers: Vec<(MemberId, Response)>,
}

/// What was asked for, and what only the virtual worker knows of it.
#[derive(Debug)]
pub(crate) enum Whole {
    /// An answer without a body, or resource usage.
    First,
    Worker(WorkerDump),
    /// Of the router with this id.
    Router(Id),
    Server(ServerDump),
}

/// What is shown of the worker: whatever else members have is not the application's.
#[derive(Debug)]
pub(crate) struct WorkerDump {
    pub process_id: u32,
    pub routers: Vec<Id>,
    /// WebRtcServers that are on no member.
    pub virtual_servers: Vec<Id>,
    pub real_servers: HashSet<Id>,
    pub things: HashSet<Id>,
}

/// What is shown of a WebRtcServer for which the members' own stand.
#[derive(Debug)]
pub(crate) struct ServerDump {
    pub id: Id,
    pub udp: bool,
    pub tcp: bool,
    pub transports: HashSet<Id>,
}

impl Gather {
    /// The one answer. A refusal of one is the answer of all, unless that has not yet what was asked
    /// for.
    pub fn merged(mut self) -> Response {
        // Members answer in any order; the answer does not depend on it.
        self.answers.sort_by_key(|(member, _)| *member);
        let mut answers: Vec<Response> = Vec::with_capacity(self.answers.len());
        for (_, answer) in self.answers {
            match (answer.accepted, &self.whole) {
                (true, _) => answers.push(answer),
                // It makes its server with the first transport.
                (false, Whole::Server(_)) => {}
                (false, _) => {
                    return Response {
                        id: self.id,
                        ..answer
                    };
                }
            }
        }
        let bodies = answers.into_iter().map(|answer| answer.body);
        let body = match self.whole {
            Whole::Worker(shown) => Some(worker_dump(&shown, bodies.flatten())),
            Whole::Router(id) => Some(router_dump(&id, bodies.flatten())),
            Whole::Server(shown) => Some(server_dump(&shown, bodies.flatten())),
            Whole::First => match bodies.reduce(add) {
                Some(body) => body,
                None => return refusal(self.id, Refusal::nobody()),
            },
        };
        acceptance(self.id, body)
    }
}

fn add(mut all: Option<Body>, one: Option<Body>) -> Option<Body> {
    if let (
        Some(Body::WorkerResourceUsageResponse(all)),
        Some(Body::WorkerResourceUsageResponse(one)),
    ) = (&mut all, &one)
    {
        add_usage(all, one);
    }
    all
}

fn strings<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Vec<String> {
    ids.into_iter().map(Id::to_string).collect()
}

fn worker_dump(shown: &WorkerDump, answers: impl Iterator<Item = Body>) -> Body {
    // Routers may be on no member, or on several; copies have their original's id.
    let mut requests = Ids::new(shown.routers.iter().chain(&shown.virtual_servers));
    let mut notifications = Ids::default();
    let mut servers = Ids::new(&shown.virtual_servers);
    for answer in answers {
        let Body::WorkerDumpResponse(dump) = answer else {
            continue;
        };
        let is_server = |id: &str| shown.real_servers.contains(id);
        let is_shown = |id: &str| shown.things.contains(id) || is_server(id);
        servers.extend(dump.web_rtc_server_ids, is_server);
        let handlers = dump.channel_message_handlers;
        requests.extend(handlers.channel_request_handlers, is_shown);
        notifications.extend(handlers.channel_notification_handlers, is_shown);
    }
    Body::WorkerDumpResponse(Box::new(worker::DumpResponse {
        pid: shown.process_id,
        web_rtc_server_ids: servers.list,
        router_ids: strings(&shown.routers),
        channel_message_handlers: Box::new(worker::ChannelMessageHandlers {
            channel_request_handlers: requests.list,
            channel_notification_handlers: notifications.list,
        }),
    }))
}

/// Ids, each once.
#[derive(Default)]
struct Ids {
    list: Vec<String>,
    seen: HashSet<String>,
}

impl Ids {
    fn new<'a>(ids: impl IntoIterator<Item = &'a Id>) -> Self {
        let mut new = Self::default();
        new.extend(strings(ids), |_| true);
        new
    }

    fn extend(&mut self, ids: Vec<String>, shown: impl Fn(&str) -> bool) {
        let more = ids.into_iter();
        self.list
            .extend(more.filter(|id| shown(id) && self.seen.insert(id.clone())));
    }
}

fn router_dump(id: &Id, answers: impl Iterator<Item = Body>) -> Body {
    let mut all = empty_dump(id);
    for answer in answers {
        if let Body::RouterDumpResponse(one) = answer {
            add_router_dump(&mut all, *one);
        }
    }
    clean_router_dump(&mut all);
    Body::RouterDumpResponse(Box::new(all))
}

fn server_dump(shown: &ServerDump, answers: impl Iterator<Item = Body>) -> Body {
    let mut all = web_rtc_server::DumpResponse {
        id: shown.id.to_string(),
        udp_sockets: Vec::new(),
        tcp_servers: Vec::new(),
        web_rtc_transport_ids: Vec::new(),
        local_ice_username_fragments: Vec::new(),
    };
    for answer in answers {
        let Body::WebRtcServerDumpResponse(one) = answer else {
            continue;
        };
        if shown.udp {
            all.udp_sockets.extend(one.udp_sockets);
        }
        if shown.tcp {
            all.tcp_servers.extend(one.tcp_servers);
        }
        // Other servers, and other applications, have transports on it as well.
        let ids = one.web_rtc_transport_ids.into_iter();
        all.web_rtc_transport_ids
            .extend(ids.filter(|id| shown.transports.contains(id.as_str())));
        let fragments = one.local_ice_username_fragments.into_iter();
        all.local_ice_username_fragments.extend(
            fragments.filter(|f| shown.transports.contains(f.web_rtc_transport_id.as_str())),
        );
    }
    Body::WebRtcServerDumpResponse(Box::new(all))
}

fn empty_dump(id: &Id) -> router::DumpResponse {
    router::DumpResponse {
        id: id.to_string(),
        transport_ids: Vec::new(),
        rtp_observer_ids: Vec::new(),
        map_producer_id_consumer_ids: Vec::new(),
        map_consumer_id_producer_id: Vec::new(),
        map_producer_id_observer_ids: Vec::new(),
        map_data_producer_id_data_consumer_ids: Vec::new(),
        map_data_consumer_id_data_producer_id: Vec::new(),
    }
}

fn is_ours(id: &str) -> bool {
    id.starts_with(INTERNAL)
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
mod tests;
