//! Virtual workers, the members that they share, and the wires between, each with its own pace. What
//! a pod's shell does, these tests do here: request ids a member's own, notifications to their owner.

use crate::model::Model;
use crate::settings::MEMBER_SERVER;
use bytes::Bytes;
use mafalda_channel::fbs::request::{Body, Method};
use mafalda_channel::{Message, view, with_id};
use mafalda_virtual_worker::{Action, Aliases, Config, Ledger, Locality, MemberId, VirtualWorker};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// An application's virtual worker.
pub struct Tenant {
    pub machine: VirtualWorker,
    name: String,
    /// What it has goes by these names where another tenant has the same id.
    aliases: Aliases,
    /// All that it was told.
    pub seen: Vec<Bytes>,
}

#[derive(Default)]
pub struct Member {
    pub model: Model,
    to: VecDeque<Bytes>,
    from: VecDeque<Bytes>,
    /// Who asked, and by which id of its own.
    asked: BTreeMap<u32, (usize, u32)>,
    next_id: u32,
    /// Nothing arrives there.
    dawdles: bool,
    /// Requests that a virtual worker made in its own name and that were refused.
    pub refused_ours: usize,
    pub locality: Locality,
}

impl Member {
    fn at(place: &Locality) -> Self {
        Self {
            locality: place.clone(),
            ..Self::default()
        }
    }
}

pub struct World {
    pub tenants: Vec<Tenant>,
    pub members: Vec<Member>,
    /// Whose a handler id is.
    pub owners: BTreeMap<String, usize>,
    pub ledger: Ledger,
    now: Duration,
}

impl World {
    /// In one pod.
    pub fn new(members: u32, configs: impl IntoIterator<Item = Config>) -> Self {
        Self::over(&vec![Locality::default(); members as usize], configs)
    }

    /// With a member at each of these places.
    pub fn over(places: &[Locality], configs: impl IntoIterator<Item = Config>) -> Self {
        let ledger = Ledger::default();
        let mut world = Self {
            tenants: Vec::new(),
            members: places.iter().map(Member::at).collect(),
            owners: BTreeMap::new(),
            ledger: ledger.clone(),
            now: Duration::ZERO,
        };
        for config in configs {
            let name = config.name.clone();
            if config.member_server.is_some() {
                for member in &mut world.members {
                    member.model.servers.insert(MEMBER_SERVER.to_owned());
                }
            }
            let mut machine = VirtualWorker::new(config, ledger.clone());
            for (member, place) in (0..).zip(places) {
                let actions = machine.on_member_added(MemberId(member), false, place.clone());
                assert_eq!(actions, []);
            }
            let seen = Vec::new();
            world.tenants.push(Tenant {
                machine,
                name,
                aliases: Aliases::default(),
                seen,
            });
        }
        world
    }

    pub fn apply(&mut self, tenant: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToApplication(message) => self.tenants[tenant].seen.push(message),
                Action::ToMember(member, message) => self.ask_member(tenant, member, message),
                Action::Owns(id) => {
                    let id = match self.owners.get(&id) {
                        None => id,
                        Some(owner) => {
                            assert_ne!(*owner, tenant, "{id} is its own already");
                            let Tenant { aliases, name, .. } = &mut self.tenants[tenant];
                            aliases.add(&id, name).expect("long enough")
                        }
                    };
                    let before = self.owners.insert(id.clone(), tenant);
                    assert_eq!(before, None, "{id} has an owner");
                }
                Action::Disowns(id) => {
                    let id = self.tenants[tenant].aliases.remove(&id).unwrap_or(id);
                    let before = self.owners.remove(&id);
                    assert_eq!(before, Some(tenant), "{id} is not its own");
                }
                Action::Died => {}
            }
        }
    }

    fn ask_member(&mut self, tenant: usize, MemberId(member): MemberId, message: Bytes) {
        let message = self.tenants[tenant].aliases.outward(message);
        self.check_isolation(tenant, &message);
        let member = &mut self.members[member as usize];
        let message = match view(&message).expect("sound") {
            Message::Request(request) => {
                member.next_id += 1;
                member.asked.insert(member.next_id, (tenant, request.id));
                with_id(&message, member.next_id).expect("sound")
            }
            _ => message,
        };
        member.to.push_back(message);
    }

    /// Nothing is asked of a handler that is not the tenant's own.
    fn check_isolation(&self, tenant: usize, message: &Bytes) {
        let Message::Request(request) = view(message).expect("sound") else {
            return;
        };
        let ours = format!("mafalda/{}/", self.tenants[tenant].name);
        let own = |id: &str| self.owners.get(id) == Some(&tenant) || id.starts_with(&ours);
        let handler = request.handler_id;
        let dump = request.method == Method::WebrtcserverDump && handler == MEMBER_SERVER;
        assert!(handler.is_empty() || own(handler) || dump, "{request:?}");
        let body = mafalda_channel::request(message).expect("sound").body;
        match body {
            Some(Body::WorkerCloseRouterRequest(body)) => assert!(own(&body.router_id)),
            Some(Body::WorkerCloseWebRtcServerRequest(body)) => {
                assert!(own(&body.web_rtc_server_id));
            }
            Some(Body::RouterCloseTransportRequest(body)) => assert!(own(&body.transport_id)),
            Some(Body::RouterCloseRtpObserverRequest(body)) => {
                assert!(own(&body.rtp_observer_id));
            }
            _ => {}
        }
    }

    pub fn send(&mut self, tenant: usize, message: Bytes) {
        let actions = self.tenants[tenant].machine.on_application(message);
        self.apply(tenant, actions);
    }

    pub fn tick(&mut self, by: Duration) {
        self.now += by;
        for tenant in 0..self.tenants.len() {
            let actions = self.tenants[tenant].machine.on_tick(self.now);
            self.apply(tenant, actions);
        }
    }

    /// Some seconds later a member is so hot.
    pub fn heat(&mut self, member: u32, cpu: f32) {
        self.tick(Duration::from_secs(10));
        self.ledger.on_cpu(MemberId(member), cpu, self.now);
    }

    /// The tenant's application is gone.
    pub fn leave(&mut self, tenant: usize) {
        let actions = self.tenants[tenant].machine.on_application_gone();
        self.apply(tenant, actions);
    }

    /// A member dies, with all that is under way to it and from it.
    pub fn kill(&mut self, member: u32) {
        let place = self.members[member as usize].locality.clone();
        self.members[member as usize] = Member::at(&place);
        self.ledger.forget(MemberId(member));
        for tenant in 0..self.tenants.len() {
            let actions = self.tenants[tenant]
                .machine
                .on_member_gone(MemberId(member));
            self.apply(tenant, actions);
        }
    }

    /// Lends a member to a tenant that has it not.
    pub fn lend(&mut self, tenant: usize, member: u32) {
        let place = self.members[member as usize].locality.clone();
        let machine = &mut self.tenants[tenant].machine;
        let actions = machine.on_member_added(MemberId(member), false, place);
        self.apply(tenant, actions);
    }

    /// Takes a member back that carries nothing of this tenant's: nobody may notice.
    pub fn take_back(&mut self, tenant: usize, member: u32) {
        let machine = &mut self.tenants[tenant].machine;
        assert_eq!(machine.carries(MemberId(member)), 0);
        assert_eq!(machine.on_member_gone(MemberId(member)), []);
    }

    /// Lets a second go by (255), or one message arrive if any is under way.
    pub fn advance(&mut self, choice: u8) -> bool {
        if choice == u8::MAX {
            self.tick(Duration::from_secs(1));
            return true;
        }
        let count = self.members.len() * 2;
        for offset in 0..count {
            let wire = (usize::from(choice) + offset) % count;
            let member = &mut self.members[wire / 2];
            if wire.is_multiple_of(2) {
                if !member.dawdles
                    && let Some(message) = member.to.pop_front()
                {
                    member.from.extend(member.model.handle(&message));
                    return true;
                }
            } else if let Some(message) = member.from.pop_front() {
                self.hear_member(wire / 2, message);
                return true;
            }
        }
        false
    }

    fn hear_member(&mut self, at: usize, message: Bytes) {
        let member = &mut self.members[at];
        let (tenant, message) = match view(&message).expect("sound") {
            Message::Response(response) => {
                let Some((tenant, id)) = member.asked.remove(&response.id) else {
                    panic!("an answer that nobody asked for");
                };
                member.refused_ours += usize::from(!response.accepted && id >= 0x8000_0000);
                (Some(tenant), with_id(&message, id).expect("sound"))
            }
            Message::Notification(notification) => {
                let handler = notification.handler_id;
                let mut parts = handler.split('/');
                let tenant = match (parts.next(), parts.next()) {
                    (Some("mafalda"), name) => self
                        .tenants
                        .iter()
                        .position(|t| Some(t.name.as_str()) == name),
                    _ => self.owners.get(handler).copied(),
                };
                (tenant, message)
            }
            _ => panic!("a member says no more"),
        };
        if let Some(tenant) = tenant {
            let member = MemberId(at as u32);
            let tenant_here = &mut self.tenants[tenant];
            let message = tenant_here.aliases.inward(message);
            let actions = tenant_here.machine.on_member(member, message);
            self.apply(tenant, actions);
        }
    }

    pub fn settle(&mut self) {
        while self.advance(0) {}
    }

    /// Until nothing is under way but to this member.
    pub fn settle_without(&mut self, member: usize) {
        self.members[member].dawdles = true;
        self.settle();
        self.members[member].dawdles = false;
    }

    /// Until all that lingers is over.
    pub fn rest(&mut self) {
        self.settle();
        self.tick(Duration::from_secs(100));
        self.settle();
    }

    /// Nothing is left of anybody.
    pub fn assert_empty(&self) {
        for Member { model, .. } in &self.members {
            assert!(model.things.is_empty(), "left: {model:?}");
            assert!(model.routers.is_empty(), "left: {model:?}");
            assert!(model.servers.iter().all(|id| id == MEMBER_SERVER));
        }
        for member in (0..).map(MemberId).take(self.members.len()) {
            assert_eq!(self.ledger.carries(member), 0);
        }
    }
}
