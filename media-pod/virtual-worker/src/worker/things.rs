//! What is remembered of things, and what goes when they go.

use super::VirtualWorker;
use crate::state::{Id, Kind, MemberId, Thing};

impl VirtualWorker {
    /// Remembers a thing; returns what tells it from others.
    pub(super) fn add(
        &mut self,
        id: &str,
        member: MemberId,
        router: &str,
        kind: Kind,
    ) -> (Id, u64) {
        let serial = self.next_serial();
        let id = Id::from(id);
        let Some((router_id, _)) = self.state.routers.get_key_value(router) else {
            return (id, serial);
        };
        let thing = Thing {
            id: id.clone(),
            serial,
            member,
            router: router_id.clone(),
            kind,
        };
        match &thing.kind {
            Kind::Producer(_) | Kind::Consumer(_) => {
                let transport = thing.lane().cloned();
                if let Some(transport) = transport.and_then(|t| self.state.transport(&t)) {
                    transport.children.insert(id.clone());
                }
            }
            Kind::Transport(_) | Kind::Observer(_) => {
                if let Some(router) = self.state.routers.get_mut(router) {
                    router.things.insert(id.clone());
                }
            }
        }
        self.state.things.insert(id.clone(), thing);
        (id, serial)
    }

    /// Forgets a thing and what goes with it on its own member, and ends what that leaves without
    /// use elsewhere. The member itself was told, or told us.
    pub(super) fn remove(&mut self, id: &Id) {
        match self.state.things.get(id).map(|thing| &thing.kind) {
            Some(Kind::Transport(_)) => self.remove_transport(id),
            Some(Kind::Producer(_)) => self.remove_producer(id),
            Some(Kind::Consumer(_)) => self.remove_consumer(id),
            Some(Kind::Observer(_)) => self.remove_observer(id),
            None => {}
        }
    }

    /// As [`Self::remove`], unless the id is already another thing's.
    pub(super) fn remove_exactly(&mut self, id: &Id, serial: u64) {
        if self
            .state
            .things
            .get(id)
            .is_some_and(|t| t.serial == serial)
        {
            self.remove(id);
        } else if self
            .state
            .servers
            .get(id)
            .is_some_and(|s| s.serial == serial)
        {
            self.remove_server(id);
        }
    }

    pub(super) fn forget(&mut self, id: &Id) {
        if self.state.things.remove(id).is_some() {
            self.disown(id);
        }
    }

    /// Forgets a transport or an observer.
    pub(super) fn forget_placed(&mut self, id: &Id) {
        let Some(thing) = self.state.things.get(id) else {
            return;
        };
        let (member, router) = (thing.member, thing.router.clone());
        if let Some(router) = self.state.routers.get_mut(&router) {
            router.things.remove(id);
        }
        self.forget(id);
        self.leave_router(&router, member);
    }
}
