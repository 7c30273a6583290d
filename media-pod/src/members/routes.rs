//! Whose is what, on a worker that several virtual workers share. Pure.

use bytes::Bytes;
use mafalda_channel::{Message, ViewError, encode_request, request, view};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// A user of members, by a number that no other has, in no pod: a virtual worker, or another pod that
/// borrows them for its own.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct VirtualId(pub u64);

impl VirtualId {
    /// The name in the ids of its own things.
    pub fn name(self) -> String {
        self.0.to_string()
    }

    /// Whose thing this is, if it is one that a virtual worker made for itself.
    fn of_internal(handler: &str) -> Option<Self> {
        let (name, _) = handler.strip_prefix("mafalda/")?.split_once('/')?;
        name.parse().ok().map(Self)
    }
}

/// Our own ids stay below this: the rewriter takes those from here on for requests of its own.
const IDS: u32 = 1 << 31;

/// The requests that one worker has not answered.
#[derive(Debug, Default)]
pub struct Requests {
    pending: HashMap<u32, (VirtualId, u32)>,
    last: u32,
}

impl Requests {
    /// Makes a virtual worker's message one for the worker: its request gets an id of this worker's.
    ///
    /// # Errors
    /// It is not one whole message of the channel.
    pub fn enter(&mut self, from: VirtualId, message: &Bytes) -> Result<Bytes, ViewError> {
        if !matches!(view(message)?, Message::Request(_)) {
            return Ok(message.clone());
        }
        // Decoded, as the bytes of an application's message may overlap.
        let mut request = request(message)?;
        let id = self.free_id();
        self.pending.insert(id, (from, request.id));
        request.id = id;
        Ok(encode_request(&request))
    }

    /// Who asked what this answers, and by which id. `None` if nobody waits for it.
    pub fn leave(&mut self, id: u32) -> Option<(VirtualId, u32)> {
        self.pending.remove(&id)
    }

    /// The virtual worker is gone; answers to it are nobody's.
    pub fn forget(&mut self, owner: VirtualId) {
        self.pending.retain(|_, (of, _)| *of != owner);
    }

    fn free_id(&mut self) -> u32 {
        loop {
            self.last = (self.last + 1) % IDS;
            if self.last != 0 && !self.pending.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

/// Whose events are whose, on all workers of a group: a piped producer is on several by one id.
#[derive(Debug, Default)]
pub struct Owners {
    of: HashMap<String, VirtualId>,
    /// How many ids each has, if any.
    counts: HashMap<VirtualId, usize>,
    /// Which borrower has which virtual worker.
    borrowers: HashMap<VirtualId, VirtualId>,
}

impl Owners {
    /// Events of this handler are the virtual worker's from now on; false if they are another's.
    pub fn own(&mut self, owner: VirtualId, handler: &str) -> bool {
        if let Some(known) = self.of.get(handler) {
            return *known == owner;
        }
        self.of.insert(handler.to_owned(), owner);
        *self.counts.entry(owner).or_default() += 1;
        true
    }

    /// Things that the virtual worker made for itself are the borrower's; false if they are another's.
    pub fn name(&mut self, borrower: VirtualId, virtual_worker: VirtualId) -> bool {
        *self.borrowers.entry(virtual_worker).or_insert(borrower) == borrower
    }

    /// The borrower whose virtual worker that is.
    pub fn borrower_of(&self, virtual_worker: VirtualId) -> Option<VirtualId> {
        self.borrowers.get(&virtual_worker).copied()
    }

    /// … and now no more.
    pub fn unname(&mut self, borrower: VirtualId, virtual_worker: VirtualId) {
        if self.borrowers.get(&virtual_worker) == Some(&borrower) {
            self.borrowers.remove(&virtual_worker);
        }
    }

    /// All ids of a virtual worker.
    pub fn owned_by(&self, owner: VirtualId) -> Vec<String> {
        let owned = self.of.iter().filter(|(_, of)| **of == owner);
        owned.map(|(id, _)| id.clone()).collect()
    }

    /// Events of this handler are nobody's from now on.
    pub fn disown(&mut self, owner: VirtualId, handler: &str) {
        if self.of.get(handler) != Some(&owner) {
            return;
        }
        self.of.remove(handler);
        if let Entry::Occupied(mut count) = self.counts.entry(owner) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// How many ids a virtual worker has.
    pub fn count(&self, owner: VirtualId) -> usize {
        self.counts.get(&owner).copied().unwrap_or_default()
    }

    /// The virtual worker is gone.
    pub fn forget(&mut self, owner: VirtualId) {
        if self.counts.remove(&owner).is_some() {
            self.of.retain(|_, of| *of != owner);
        }
        self.borrowers.retain(|_, of| *of != owner);
    }

    /// Whose the events of this handler are.
    pub fn of(&self, handler: &str) -> Option<VirtualId> {
        let known = self.of.get(handler).copied();
        known.or_else(|| {
            let virtual_worker = VirtualId::of_internal(handler)?;
            let borrower = self.borrowers.get(&virtual_worker);
            Some(borrower.copied().unwrap_or(virtual_worker))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mafalda_channel::fbs::request::{Method, Request};

    const ONE: VirtualId = VirtualId(1);
    const TWO: VirtualId = VirtualId(2);

    fn ask(requests: &mut Requests, from: VirtualId, id: u32) -> u32 {
        let message = encode_request(&Request {
            id,
            method: Method::WorkerDump,
            handler_id: String::new(),
            body: None,
        });
        request(&requests.enter(from, &message).unwrap())
            .unwrap()
            .id
    }

    #[test]
    fn two_may_use_the_same_request_id() {
        let mut requests = Requests::default();
        let (one, two) = (ask(&mut requests, ONE, 7), ask(&mut requests, TWO, 7));
        assert_ne!(one, two);
        assert_eq!(requests.leave(two), Some((TWO, 7)));
        assert_eq!(requests.leave(one), Some((ONE, 7)));
        assert_eq!(requests.leave(one), None, "answered once");
    }

    #[test]
    fn ids_that_wait_are_not_given_again() {
        let mut requests = Requests::default();
        let waiting = ask(&mut requests, ONE, 1);
        requests.last = IDS - 2;
        let ids: Vec<u32> = (0..3).map(|_| ask(&mut requests, ONE, 1)).collect();
        assert!(!ids.contains(&waiting) && !ids.contains(&0), "{ids:?}");
        assert!(ids.iter().all(|id| *id < IDS));
    }

    #[test]
    fn events_go_to_the_owner() {
        let mut owners = Owners::default();
        assert!(owners.own(ONE, "producer"));
        assert!(!owners.own(TWO, "producer"));
        assert_eq!(owners.of("producer"), Some(ONE));
        assert_eq!(owners.of("mafalda/2/14"), Some(TWO));
        assert_eq!(owners.of("mafalda/x/14"), None);
        owners.disown(TWO, "producer");
        assert_eq!(owners.of("producer"), Some(ONE), "not another's to give up");
        assert!(owners.own(ONE, "producer"), "said twice");
        assert_eq!((owners.count(ONE), owners.count(TWO)), (1, 0));
        owners.disown(ONE, "producer");
        assert_eq!(owners.of("producer"), None);
        assert_eq!(owners.count(ONE), 0);
    }

    #[test]
    fn a_borrower_has_what_its_virtual_workers_make_for_themselves() {
        let (mut owners, theirs) = (Owners::default(), VirtualId(7));
        assert!(owners.name(ONE, theirs));
        assert!(!owners.name(TWO, theirs), "another's");
        assert_eq!(owners.of("mafalda/7/1"), Some(ONE));
        owners.unname(TWO, theirs);
        assert_eq!(
            owners.of("mafalda/7/1"),
            Some(ONE),
            "not another's to give up"
        );
        owners.unname(ONE, theirs);
        assert_eq!(owners.of("mafalda/7/1"), Some(theirs));
    }

    #[test]
    fn one_that_is_gone_is_told_nothing() {
        let (mut requests, mut owners) = (Requests::default(), Owners::default());
        let (one, two) = (ask(&mut requests, ONE, 1), ask(&mut requests, TWO, 1));
        owners.own(ONE, "producer");
        requests.forget(ONE);
        owners.forget(ONE);
        assert_eq!(requests.leave(one), None);
        assert_eq!(owners.of("producer"), None);
        assert_eq!(requests.leave(two), Some((TWO, 1)));
    }
}
