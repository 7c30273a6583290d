//! Pipes: made on demand, connected, and closed when they were idle for a while.

use super::VirtualWorker;
use crate::locality::Distance;
use crate::messages::Ask;
use crate::state::{Address, End, Id, MemberId, Pair, PairKey, Protection, Purpose, Told};
use mafalda_channel::fbs::response::BodyRef;
use mafalda_channel::fbs::sctp_association::SctpState;
use mafalda_channel::{Response, ViewError};
use std::collections::HashSet;

impl VirtualWorker {
    /// Sees to it that there is such a pipe.
    pub(super) fn open_pair(&mut self, key: &PairKey) {
        if self.state.pairs.contains_key(key) {
            return;
        }
        let protection = self.protection(key);
        let source = self.open_end(key, key.source, protection);
        let target = self.open_end(key, key.target, protection);
        let pair = Pair {
            source,
            target,
            protection,
            rtp: false,
            sctp: false,
            since: self.now,
            copies: HashSet::new(),
            idle_since: None,
            streams: HashSet::new(),
            next_stream: 0,
            waiting: Vec::new(),
            traffic: None,
        };
        self.state.pairs.insert(key.clone(), pair);
        if let Some(router) = self.state.routers.get_mut(&key.router) {
            router.pairs.insert((key.source, key.target));
        }
    }

    /// What this way needs.
    fn protection(&self, key: &PairKey) -> Protection {
        let settings = &self.config.pipes;
        let members = &self.state.members;
        let ends = (members.get(&key.source), members.get(&key.target));
        let (between_pods, between_clusters) = match ends {
            (Some(source), Some(target)) => {
                let (source, target) = (&source.locality, &target.locality);
                let distance = source.distance(target);
                (distance > Distance::Pod, source.is_other_cluster(target))
            }
            _ => (false, false),
        };
        Protection {
            srtp: settings.srtp.includes(between_pods) || between_clusters,
            rtx: settings.rtx.includes(between_pods),
        }
    }

    fn open_end(&mut self, key: &PairKey, member: MemberId, protection: Protection) -> End {
        self.enter_router(&key.router, member);
        let transport = self.internal_id();
        let ask = Ask::create_pipe(
            &key.router,
            &transport,
            &self.config.pipes.listen_ip,
            protection,
        );
        self.ask(member, ask, Purpose::PipeCreated(transport.clone()));
        self.state.pair_of.insert(transport.clone(), key.clone());
        End {
            transport,
            address: None,
        }
    }

    /// A copy that it fed has ended.
    pub(super) fn leave_pair(&mut self, key: &PairKey) {
        let now = self.now;
        let Some(pair) = self.state.pairs.get_mut(key) else {
            return;
        };
        if !pair.copies.is_empty() {
            return;
        }
        if self.config.pipes.idle.is_zero() {
            self.close_pair(key);
        } else {
            pair.idle_since = Some(now);
            self.release(key);
        }
    }

    pub(super) fn close_idle_pairs(&mut self) {
        let (now, idle) = (self.now, self.config.pipes.idle);
        let pairs = self.state.pairs.iter();
        let expired = pairs.filter(|(_, p)| p.idle_since.is_some_and(|at| at + idle <= now));
        let expired: Vec<PairKey> = expired.map(|(key, _)| key.clone()).collect();
        expired.iter().for_each(|key| self.close_pair(key));
    }

    pub(super) fn close_pair(&mut self, key: &PairKey) {
        self.release(key);
        let Some(pair) = self.forget_pair(key) else {
            return;
        };
        if let Some(router) = self.state.routers.get_mut(&key.router) {
            router.pairs.remove(&(key.source, key.target));
        }
        for (member, end) in [(key.source, pair.source), (key.target, pair.target)] {
            let close = Ask::close_transport(&key.router, &end.transport);
            self.ask(member, close, Purpose::Internal);
            self.leave_router(&key.router, member);
        }
    }

    pub(super) fn forget_pair(&mut self, key: &PairKey) -> Option<Pair> {
        let pair = self.state.pairs.remove(key)?;
        self.state.pair_of.remove(&pair.source.transport);
        self.state.pair_of.remove(&pair.target.transport);
        Some(pair)
    }

    /// One end is there, or is refused.
    pub(super) fn pipe_created(&mut self, transport: &Id, response: &Response<'_>) {
        let Some(key) = self.state.pair_of.get(transport).cloned() else {
            return;
        };
        let Ok(Some(address)) = address(response) else {
            self.give_up_pair(&key);
            return;
        };
        let Some(pair) = self.state.pairs.get_mut(&key) else {
            return;
        };
        let end = match pair.source.transport == *transport {
            true => &mut pair.source,
            false => &mut pair.target,
        };
        end.address = Some(address);
        // The target first: what the source sends to one that is not connected is lost.
        if pair.target.address.is_some()
            && let Some(source) = pair.source.address.clone()
        {
            let target = pair.target.transport.clone();
            let ask = Ask::connect_pipe(&target, source);
            self.ask(key.target, ask, Purpose::PipeConnected(target));
        }
    }

    /// One end is connected, or is refused.
    pub(super) fn pipe_connected(&mut self, transport: &Id, response: &Response<'_>) {
        let Some(key) = self.state.pair_of.get(transport).cloned() else {
            return;
        };
        if !response.accepted {
            self.give_up_pair(&key);
            return;
        }
        let Some(pair) = self.state.pairs.get_mut(&key) else {
            return;
        };
        if pair.target.transport == *transport {
            if let Some(target) = pair.target.address.clone() {
                let source = pair.source.transport.clone();
                let ask = Ask::connect_pipe(&source, target);
                self.ask(key.source, ask, Purpose::PipeConnected(source));
            }
            return;
        }
        pair.rtp = true;
        self.release_ready(&key);
    }

    pub(super) fn pipe_sctp_state(&mut self, transport: &str, state: SctpState) {
        if !matches!(state, SctpState::New | SctpState::Connecting)
            && let Some(key) = self.state.pair_of.get(transport).cloned()
            && let Some(pair) = self.state.pairs.get_mut(&key)
            && *pair.source.transport == *transport
        {
            pair.sctp = true;
            self.release_ready(&key);
        }
    }

    /// It cannot be: what would come over it ends, and whoever waits for it is refused.
    fn give_up_pair(&mut self, key: &PairKey) {
        let Some(pair) = self.state.pairs.get(key) else {
            return;
        };
        let copies: Vec<Id> = pair.copies.iter().cloned().collect();
        for producer in copies {
            for user in self.branch(&producer, key.target).1 {
                let consumer = self.state.consumer(&user);
                if consumer.is_some_and(|consumer| !matches!(consumer.told, Told::Accepted)) {
                    self.refuse_consumer(&user, &producer);
                }
            }
            self.end_branch(&producer, key.target);
        }
        self.close_pair(key);
    }
}

/// Where a new pipe transport listens; `None` if it was refused.
fn address(response: &Response<'_>) -> Result<Option<Address>, ViewError> {
    let Some(BodyRef::PipeTransportDumpResponse(dump)) = response.body()? else {
        return Ok(None);
    };
    let tuple = dump.tuple()?;
    let srtp = dump.srtp_parameters()?.map(TryInto::try_into).transpose()?;
    Ok(Some(Address {
        ip: tuple.local_address()?.to_owned(),
        port: tuple.local_port()?,
        srtp: srtp.map(Box::new),
    }))
}
