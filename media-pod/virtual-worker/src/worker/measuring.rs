//! What crosses pipes, and where everything is.

use super::VirtualWorker;
use crate::locality::Distance;
use crate::messages::Ask;
use crate::state::{Id, Kind, MemberId, Pair, PairKey, Purpose, State, Thing, Traffic, Transport};
use crate::topology::{
    MemberTopology, ObserverTopology, PipeTopology, RouterTopology, Topology, TransportTopology,
};
use mafalda_channel::fbs::request::Method;
use mafalda_channel::fbs::response::BodyRef;
use mafalda_channel::{Response, ViewError};
use std::sync::Arc;

impl VirtualWorker {
    pub(super) fn ask_for_stats(&mut self) {
        let pairs = self.state.pairs.iter();
        let sources = pairs.map(|(key, pair)| (key.source, pair.source.transport.clone()));
        let sources: Vec<(MemberId, Id)> = sources.collect();
        for (member, transport) in sources {
            let ask = Ask::bare(Method::TransportGetStats, &transport);
            self.ask(member, ask, Purpose::PipeStats(transport));
            self.measuring += 1;
        }
    }

    pub(super) fn measured(&mut self, transport: &Id, response: &Response<'_>) {
        self.measuring -= 1;
        let Some(key) = self.state.pair_of.get(transport).cloned() else {
            return;
        };
        let way = self.way_between_pods(&key);
        if let Some(pair) = self.state.pairs.get_mut(&key)
            && let Ok(Some(traffic)) = traffic(response)
        {
            let before = pair.traffic.replace(traffic);
            if let Some(way) = way {
                let before = before.map_or(0, |before| before.bytes);
                *self.crossed.entry(way).or_default() += traffic.bytes.saturating_sub(before);
            }
        }
    }

    /// Source and target pod of a pipe between two.
    pub(super) fn way_between_pods(&self, key: &PairKey) -> Option<(Arc<str>, Arc<str>)> {
        let members = &self.state.members;
        let source = &members.get(&key.source)?.locality;
        let target = &members.get(&key.target)?.locality;
        let crosses = source.distance(target) > Distance::Pod;
        crosses.then(|| (source.pod.clone(), target.pod.clone()))
    }

    pub(super) fn survey(&self) -> Topology {
        let state = &self.state;
        let routers = state.routers.iter().map(|(id, router)| RouterTopology {
            id: id.to_string(),
            members: router.real.keys().map(|member| member.0).collect(),
        });
        let things = state.things.values();
        let transports = things.clone().filter_map(|thing| match &thing.kind {
            Kind::Transport(transport) => Some(transport_topology(state, thing, transport)),
            _ => None,
        });
        let observers = things.filter_map(|thing| match &thing.kind {
            Kind::Observer(observer) => Some(ObserverTopology {
                id: thing.id.to_string(),
                router: thing.router.to_string(),
                member: thing.member.0,
                producers: observer.producers.len(),
            }),
            _ => None,
        });
        let pipes = state.pairs.iter();
        let pipes = pipes.map(|(key, pair)| pipe_topology(state, key, pair));
        let members = state.members.iter().map(|(id, member)| MemberTopology {
            id: id.0,
            pod: member.locality.pod.clone(),
            zone: member.locality.zone.clone(),
            cordoned: member.cordoned,
            carries: self.carried_by(*id),
        });
        let mut topology = Topology {
            routers: routers.collect(),
            transports: transports.collect(),
            observers: observers.collect(),
            pipes: pipes.collect(),
            members: members.collect(),
        };
        topology.routers.sort_by(|a, b| a.id.cmp(&b.id));
        topology.transports.sort_by(|a, b| a.id.cmp(&b.id));
        topology.observers.sort_by(|a, b| a.id.cmp(&b.id));
        let place = |pipe: &PipeTopology| (pipe.router.clone(), pipe.source, pipe.target);
        topology.pipes.sort_by_cached_key(place);
        topology
    }
}

fn transport_topology(state: &State, thing: &Thing, transport: &Transport) -> TransportTopology {
    let kinds = transport
        .children
        .iter()
        .filter_map(|id| state.things.get(id));
    let (mut producers, mut consumers) = (0, 0);
    for child in kinds {
        match &child.kind {
            Kind::Producer(_) => producers += 1,
            Kind::Consumer(_) => consumers += 1,
            _ => {}
        }
    }
    TransportTopology {
        id: thing.id.to_string(),
        router: thing.router.to_string(),
        member: thing.member.0,
        kind: transport.kind,
        producers,
        consumers,
    }
}

fn pipe_topology(state: &State, key: &PairKey, pair: &Pair) -> PipeTopology {
    let users = |id: &Id| match &state.things.get(id)?.kind {
        Kind::Producer(producer) => Some(producer.copies.get(&key.target)?.users.len()),
        _ => None,
    };
    let pod = |member| {
        let member = state.members.get(member);
        member.map_or_else(Arc::default, |member| member.locality.pod.clone())
    };
    let mut producers: Vec<String> = pair.copies.iter().map(Id::to_string).collect();
    producers.sort();
    PipeTopology {
        router: key.router.to_string(),
        source: key.source.0,
        target: key.target.0,
        source_pod: pod(&key.source),
        target_pod: pod(&key.target),
        producers,
        consumers: pair.copies.iter().filter_map(users).sum(),
        srtp: pair.protection.srtp,
        rtx: pair.protection.rtx,
        bytes: pair.traffic.map(|traffic| traffic.bytes),
        bytes_per_second: pair.traffic.map(|traffic| traffic.bytes_per_second),
    }
}

fn traffic(response: &Response<'_>) -> Result<Option<Traffic>, ViewError> {
    let Some(BodyRef::PipeTransportGetStatsResponse(stats)) = response.body()? else {
        return Ok(None);
    };
    let base = stats.base()?;
    Ok(Some(Traffic {
        bytes: base.bytes_sent()?,
        bytes_per_second: base.send_bitrate()? / 8,
    }))
}
