//! One client in one channel: on hold, delivered to, present; leaving is `Drop`.

use std::sync::Arc;

use chassis::delivery::Member;
use tokio::time::Instant;

use super::super::outlet::{Audience, Outlet, index};
use super::{Channel, Leaving};
use crate::outbound::Format;
use crate::protocol::ClientInfo;

/// One client in one channel; dropping it is leaving.
pub struct Subscription {
    channel: Arc<Channel>,
    info: Arc<ClientInfo>,
    format: Format,
    /// Two bytes: there are at most 1024.
    shard: u16,
    join_leave: bool,
    /// It is counted as a member and its frames come, or wait on hold.
    attached: bool,
    /// Others were told of the join, so they are told of the leave.
    announced: bool,
    leaving: Leaving,
}

impl Channel {
    /// A place for a client; nothing is delivered or held for it before [`Subscription::attach`].
    #[must_use]
    pub fn reserve(
        self: &Arc<Self>,
        member: &Member,
        format: Format,
        info: Arc<ClientInfo>,
        wants_join_leave: bool,
    ) -> Subscription {
        let join_leave =
            wants_join_leave && self.options.join_leave && !self.options.force_push_join_leave;
        let channel = self.clone();
        let shard = u16::try_from(member.shard()).expect("there are at most 1024 shards");
        let (attached, announced, leaving) = (false, false, Leaving::Interrupted);
        Subscription { channel, info, format, shard, join_leave, attached, announced, leaving }
    }
}

impl Subscription {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &Arc<Channel> {
        &self.channel
    }

    /// Enters the client on hold: nothing is delivered to it until [`Subscription::release`].
    pub fn attach(&mut self, member: &Member) {
        self.attached = true;
        let mut state = self.channel.state.lock();
        for audience in self.audiences() {
            state.members[usize::from(self.shard)][index(self.format, audience)] += 1;
            member.attach(Outlet::new(self.channel.clone(), self.format, audience));
        }
    }

    fn audiences(&self) -> impl Iterator<Item = Audience> + use<> {
        let second = self.join_leave.then_some(Audience::JoinLeave);
        std::iter::once(Audience::Everyone).chain(second)
    }

    /// Starts delivery behind `after`, which the client knows from the reply queued before.
    pub fn release(&self, member: &Member, after: u64) {
        for audience in self.audiences() {
            let outlet = Outlet::new(self.channel.clone(), self.format, audience);
            let after = if audience == Audience::Everyone { after } else { 0 };
            member.release(&*outlet, after);
        }
    }

    /// Makes the client present and tells the others, where the channel does either.
    pub fn announce(&mut self) {
        if self.channel.keeps_presence() {
            self.announced = true;
            self.channel.arrive(&self.info);
        }
    }

    /// Leaves for good: nothing of the channel is delivered afterwards.
    pub fn end(self, member: &Member) {
        self.leave(member, Leaving::ForGood);
    }

    /// The same with the way it leaves; dropping it is an interruption.
    pub fn leave(mut self, member: &Member, leaving: Leaving) {
        self.leaving = leaving;
        if !self.attached {
            return;
        }
        for audience in self.audiences() {
            member.detach(self.channel.topic(index(self.format, audience)));
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.channel.state.lock();
        for audience in self.audiences().filter(|_| self.attached) {
            state.members[usize::from(self.shard)][index(self.format, audience)] -= 1;
        }
        state.left_at = Instant::now();
        drop(state);
        if self.announced {
            self.channel.depart(&self.info, self.leaving);
        }
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel.name).finish_non_exhaustive()
    }
}
