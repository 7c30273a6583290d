//! Whether there are too many members, or too few.

use super::VirtualWorker;
use crate::state::MemberId;

impl VirtualWorker {
    /// How much of ours a member has.
    pub(super) fn carried_by(&self, member: MemberId) -> usize {
        let state = &self.state;
        let routers = state.routers.values();
        let placed: usize = routers.filter_map(|router| router.real.get(&member)).sum();
        let servers = state.servers.values();
        let servers = servers.filter(|server| server.member == Some(member));
        let pending = state.members.get(&member).map_or(0, |m| m.pending.len());
        placed + servers.count() + pending
    }

    /// Whether the application has a transport or an observer.
    pub(super) fn is_in_use(&self) -> bool {
        let mut routers = self.state.routers.values();
        routers.any(|router| !router.things.is_empty())
    }

    /// Whether no member can take something new and stay below the watermark.
    pub(super) fn is_hot_everywhere(&self) -> bool {
        let members = self.state.members.iter();
        let mut usable = members.filter(|(_, member)| !member.cordoned);
        usable.all(|(member, _)| self.is_hot(*member))
    }
}
