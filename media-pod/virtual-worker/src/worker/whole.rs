//! Requests to the worker as a whole.

use super::VirtualWorker;
use crate::merge::{Gather, Whole, WorkerDump};
use crate::messages::{Ask, acceptance};
use crate::refusal::Refusal;
use crate::state::{Id, Kind, MemberId, Purpose, Thing};
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Request as OwnedRequest};
use mafalda_channel::{Request, ViewError};
use std::collections::HashSet;

impl VirtualWorker {
    /// The one answer is made of what these members say, and is there at once if they are none.
    pub(super) fn gather(
        &mut self,
        whole: Whole,
        members: HashSet<MemberId>,
        request: &Request<'_>,
        message: &Bytes,
    ) {
        let entry = Gather {
            id: request.id,
            whole,
            missing: members.clone(),
            answers: Vec::new(),
        };
        if members.is_empty() {
            self.answer(&entry.merged());
            return;
        }
        let gather = self.next_serial();
        self.state.gathers.insert(gather, entry);
        for member in members {
            self.pass(member, request.id, message, Purpose::Gather(gather));
        }
    }

    pub(super) fn worker_dump(&mut self, request: &Request<'_>, message: &Bytes) {
        // What an ended consumer has still to tell is no reason to show it.
        let shown =
            |thing: &&Thing| !matches!(&thing.kind, Kind::Consumer(c) if c.producer.is_none());
        let things = self.state.things.values().filter(shown);
        let things: HashSet<Id> = things.map(|thing| thing.id.clone()).collect();
        let routers = self.state.routers.iter();
        let real = routers.clone().flat_map(|(_, router)| router.real.keys());
        let mut members: HashSet<MemberId> = real.copied().collect();
        let mut shown = WorkerDump {
            process_id: self.config.process_id,
            routers: routers.map(|(id, _)| id.clone()).collect(),
            virtual_servers: Vec::new(),
            real_servers: HashSet::new(),
            things,
        };
        for (id, server) in &self.state.servers {
            if let Some(member) = server.member {
                members.insert(member);
                shown.real_servers.insert(id.clone());
            } else {
                shown.virtual_servers.push(id.clone());
            }
        }
        let whole = Whole::Worker(shown);
        self.gather(whole, members, request, message);
    }

    pub(super) fn resource_usage(&mut self, request: &Request<'_>, message: &Bytes) {
        let members = self.state.members.keys().copied().collect();
        self.gather(Whole::First, members, request, message);
    }

    pub(super) fn update_settings(
        &mut self,
        request: &Request<'_>,
        message: &Bytes,
    ) -> Result<(), ViewError> {
        let settings = mafalda_channel::request(message)?;
        if self.config.shared {
            match wrong_level(&settings) {
                Some(level) => {
                    let reason = format!("invalid value '{level}' for logLevel");
                    self.refuse(request.id, Refusal::type_error(reason));
                }
                None => self.answer(&acceptance(request.id, None)),
            }
            return Ok(());
        }
        self.settings = Some(settings);
        let members = self.state.members.keys().copied().collect();
        self.gather(Whole::First, members, request, message);
        Ok(())
    }

    /// To a member that comes later.
    pub(super) fn repeat_settings(&mut self, member: MemberId) {
        if let Some(settings) = &self.settings {
            let ask = Ask {
                method: settings.method,
                handler: String::new(),
                body: settings.body.clone(),
            };
            self.ask(member, ask, Purpose::Internal);
        }
    }

    pub(super) fn refuse_nobody(&mut self, id: u32) {
        self.refuse(id, Refusal::nobody());
    }
}

/// A log level that no worker has (`Settings::SetLogLevel`), in lower case as it is told.
fn wrong_level(settings: &OwnedRequest) -> Option<String> {
    let Some(Body::WorkerUpdateSettingsRequest(body)) = &settings.body else {
        return None;
    };
    let level = body.log_level.as_ref()?.to_ascii_lowercase();
    let known = ["debug", "warn", "error", "none"].contains(&level.as_str());
    (!known).then_some(level)
}
