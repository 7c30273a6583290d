//! A virtual worker over real members: a pod's shell for one application.

use crate::fleet::Fleet;
use crate::settings::place;
use bytes::Bytes;
use mafalda_channel::{Message, view};
use mafalda_virtual_worker::{Action, Config, Ledger, Locality, MemberId, VirtualWorker};
use std::collections::BTreeSet;
use std::time::Duration;

pub struct Session<'a> {
    machine: VirtualWorker,
    ledger: Ledger,
    fleet: &'a mut Fleet,
    /// What was asked of each member and is not answered.
    asked: Vec<BTreeSet<u32>>,
    /// How many answers the application waits for.
    unanswered: usize,
    /// The handler ids that are the application's.
    pub owned: BTreeSet<String>,
    /// All that it was told.
    pub seen: Vec<Bytes>,
    now: Duration,
}

fn place_of(member: u32) -> Locality {
    place([0, 5, 0][member as usize])
}

impl<'a> Session<'a> {
    /// On the first members of the fleet: two in one pod, one in another cluster.
    pub fn new(fleet: &'a mut Fleet, members: u32, config: Config) -> Self {
        let ledger = Ledger::default();
        let mut machine = VirtualWorker::new(config, ledger.clone());
        for member in 0..members {
            let actions = machine.on_member_added(MemberId(member), false, place_of(member));
            assert_eq!(actions, []);
        }
        Self {
            machine,
            ledger,
            fleet,
            asked: vec![BTreeSet::new(); members as usize],
            unanswered: 0,
            owned: BTreeSet::new(),
            seen: Vec::new(),
            now: Duration::ZERO,
        }
    }

    fn apply(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::ToApplication(message) => {
                    if let Message::Response(_) = view(&message).expect("sound") {
                        self.unanswered -= 1;
                    }
                    self.seen.push(message);
                }
                Action::ToMember(MemberId(member), message) => {
                    let member = member as usize;
                    if let Message::Request(request) = view(&message).expect("sound") {
                        let new = self.asked[member].insert(request.id);
                        assert!(new, "{} is under way", request.id);
                    }
                    self.fleet.send(member, &message);
                }
                Action::Owns(id) => assert!(self.owned.insert(id)),
                Action::Disowns(id) => assert!(self.owned.remove(&id)),
                Action::Died => panic!("nobody died"),
            }
        }
    }

    fn hear(&mut self, (member, message): (usize, Bytes)) {
        let ours = match view(&message).expect("sound") {
            Message::Response(response) => {
                assert!(self.asked[member].remove(&response.id), "{response:?}");
                true
            }
            Message::Notification(notification) => {
                let handler = notification.handler_id;
                handler.starts_with("mafalda/") || self.owned.contains(handler)
            }
            _ => panic!("a member says no more"),
        };
        if ours {
            let actions = self.machine.on_member(MemberId(member as u32), message);
            self.apply(actions);
        }
    }

    fn is_waiting(&self) -> bool {
        self.asked.iter().any(|asked| !asked.is_empty())
    }

    /// One request of the application.
    pub fn send(&mut self, message: Bytes) {
        self.unanswered += 1;
        let actions = self.machine.on_application(message);
        self.apply(actions);
    }

    /// Lets a second go by (255), or waits for a message (even), or takes one that is here (odd).
    pub fn advance(&mut self, choice: u8) {
        if choice == u8::MAX {
            self.tick(Duration::from_secs(1));
        } else if choice.is_multiple_of(2) && self.is_waiting() {
            let said = self.fleet.next();
            self.hear(said);
        } else if let Some(said) = self.fleet.arrived() {
            self.hear(said);
        }
    }

    fn tick(&mut self, by: Duration) {
        self.now += by;
        let actions = self.machine.on_tick(self.now);
        self.apply(actions);
    }

    /// Until nothing is under way: a worker tells what a request causes before it answers, and an
    /// answer may wait until messages can cross a pipe.
    pub fn settle(&mut self) {
        while self.is_waiting() || self.unanswered > 0 {
            let said = self.fleet.next();
            self.hear(said);
        }
    }

    /// Until all that lingers is over.
    pub fn rest(&mut self) {
        self.settle();
        self.tick(Duration::from_secs(100));
        self.settle();
    }

    /// The application is gone.
    pub fn leave(&mut self) {
        self.unanswered = 0;
        let actions = self.machine.on_application_gone();
        self.apply(actions);
    }

    /// Nothing is the application's any more.
    pub fn assert_empty(&self) {
        assert_eq!(self.owned, BTreeSet::new());
        for member in (0..).map(MemberId).take(self.asked.len()) {
            assert_eq!(self.ledger.carries(member), 0, "{member:?}");
        }
    }
}
