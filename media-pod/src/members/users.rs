//! Who uses members.

use super::{Member, VirtualId};
use crate::lending::Borrower;
use crate::virtual_worker::Shell;
use bytes::Bytes;
use mafalda_link::Exit;
use mafalda_virtual_worker::MemberId;
use std::sync::Arc;
use std::time::Duration;

/// Somebody whom members are lent to.
#[derive(Clone)]
pub enum User {
    /// A virtual worker of this pod.
    VirtualWorker(Arc<Shell>),
    /// Another pod, for virtual workers of its own.
    Borrower(Arc<Borrower>),
}

impl User {
    /// What no other is called.
    pub fn id(&self) -> VirtualId {
        match self {
            Self::VirtualWorker(shell) => shell.id(),
            Self::Borrower(borrower) => borrower.id(),
        }
    }

    /// The virtual worker, if it is one.
    pub fn virtual_worker(self) -> Option<Arc<Shell>> {
        match self {
            Self::VirtualWorker(shell) => Some(shell),
            Self::Borrower(_) => None,
        }
    }

    /// The borrower, if it is one.
    pub fn borrower(self) -> Option<Arc<Borrower>> {
        match self {
            Self::VirtualWorker(_) => None,
            Self::Borrower(borrower) => Some(borrower),
        }
    }

    /// The session that it works for.
    pub fn session(&self) -> Option<&str> {
        match self {
            Self::VirtualWorker(shell) => shell.session(),
            Self::Borrower(_) => None,
        }
    }

    /// Whether it is another pod that has something on members.
    pub fn borrows(&self) -> bool {
        match self {
            Self::VirtualWorker(_) => false,
            Self::Borrower(borrower) => borrower.is_in_use(),
        }
    }

    /// The members that another pod has something on.
    pub fn lent(&self) -> Vec<MemberId> {
        match self {
            Self::VirtualWorker(_) => Vec::new(),
            Self::Borrower(borrower) => borrower.in_use(),
        }
    }

    /// It may use the member. A borrower is not lent what is lent itself.
    pub fn on_member_added(&self, member: &Arc<Member>) {
        match self {
            Self::VirtualWorker(shell) => shell.on_member_added(member),
            Self::Borrower(borrower) if member.is_here() => borrower.on_member_added(member),
            Self::Borrower(_) => {}
        }
    }

    /// It is to put nothing new on the member, and to give it back when it has nothing there.
    pub fn on_member_wanted_back(&self, member: &Arc<Member>) {
        if let Self::VirtualWorker(shell) = self {
            shell.on_member_wanted_back(member.id);
        }
    }

    /// The member has ended.
    pub fn on_member_gone(&self, member: MemberId, exit: Exit) {
        match self {
            Self::VirtualWorker(shell) => shell.on_member_gone(member),
            Self::Borrower(borrower) => borrower.on_member_gone(member, exit),
        }
    }

    /// The member says something to it.
    pub fn on_member(&self, member: MemberId, message: Bytes) {
        match self {
            Self::VirtualWorker(shell) => shell.on_member(member, message),
            Self::Borrower(borrower) => borrower.on_member(member, message),
        }
    }

    /// Whether it has the member.
    pub fn has(&self, member: MemberId) -> bool {
        match self {
            Self::VirtualWorker(shell) => shell.has(member),
            Self::Borrower(borrower) => borrower.has(member),
        }
    }

    /// Time passes.
    pub fn on_tick(&self, now: Duration) {
        if let Self::VirtualWorker(shell) = self {
            shell.on_tick(now);
        }
    }

    /// A second has passed, in which the pod's own members took these shares of a core.
    pub fn on_second(&self, now: Duration, loads: &[(MemberId, f32)]) {
        match self {
            Self::VirtualWorker(shell) => {
                shell.on_tick(now);
                shell.give_back();
                shell.count_crossed();
            }
            Self::Borrower(borrower) => borrower.on_second(loads),
        }
    }
}
