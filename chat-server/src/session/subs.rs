//! The channels of one client: few, so they are searched one by one.

use std::sync::Arc;

use chassis::delivery::Member;

use crate::channel::{Channel, Leaving, Subscription};

/// So many channels take the memory of so many; beyond, there is room for more of them.
const FEW: usize = 4;

/// One channel of a client.
#[derive(Debug)]
pub struct Sub {
    /// Its place in the channel.
    pub subscription: Subscription,
    /// When the permission ends, in Unix seconds.
    pub expires_at: Option<u64>,
    /// Who wanted it.
    pub made_by: MadeBy,
    /// The log is being sent from behind this offset; delivery starts when it was.
    pub catch_up: Option<u64>,
}

/// Who wanted a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MadeBy {
    /// The client: it counts against what one connection may have.
    Client,
    /// The server: what it wants takes nothing from the client.
    Server,
}

/// All channels of a client.
#[derive(Debug, Default)]
pub struct Subs {
    list: Vec<Sub>,
}

impl Subs {
    /// How many the client made itself.
    #[must_use]
    pub fn of_client(&self) -> usize {
        self.list.iter().filter(|sub| sub.made_by == MadeBy::Client).count()
    }

    /// The subscription to a channel.
    #[must_use]
    pub fn find(&self, channel: &str) -> Option<&Subscription> {
        let found = self.list.iter().find(|sub| &**name(sub) == channel);
        found.map(|sub| &sub.subscription)
    }

    pub(super) fn insert(&mut self, sub: Sub) -> &mut Sub {
        // Most clients have their feed and a channel or two: no room for what never comes.
        if self.list.len() < FEW {
            self.list.reserve_exact(1);
        }
        self.list.push(sub);
        self.list.last_mut().expect("one was pushed")
    }

    pub(super) fn remove(&mut self, channel: &str) -> Option<Sub> {
        let at = self.list.iter().position(|sub| &**name(sub) == channel)?;
        Some(self.list.swap_remove(at))
    }

    /// Leaves every channel; what was published before still goes to the client.
    pub(super) fn leave(self, member: &Member, leaving: Leaving) {
        for sub in self.list {
            sub.subscription.leave(member, leaving);
        }
    }

    pub(super) fn renew(&mut self, channel: &str, expires_at: Option<u64>) {
        if let Some(sub) = self.get_mut(channel) {
            sub.expires_at = expires_at;
        }
    }

    /// A subscription whose log is being sent.
    pub(super) fn behind(&mut self) -> Option<&mut Sub> {
        self.list.iter_mut().find(|sub| sub.catch_up.is_some())
    }

    pub(super) fn get_mut(&mut self, channel: &str) -> Option<&mut Sub> {
        self.list.iter_mut().find(|sub| &**name(sub) == channel)
    }

    /// Those whose channel's life is over.
    pub(super) fn over(&self) -> Vec<(Arc<str>, MadeBy)> {
        let over = self.list.iter().filter(|sub| sub.subscription.channel().is_over());
        over.map(|sub| (name(sub).clone(), sub.made_by)).collect()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.list.iter().any(|sub| sub.catch_up.is_some())
    }

    pub(super) fn expiries(&self) -> impl Iterator<Item = u64> {
        self.list.iter().filter_map(|sub| sub.expires_at)
    }

    pub(super) fn expired(&self, over: impl Fn(Option<u64>) -> bool) -> Vec<Arc<str>> {
        let over = self.list.iter().filter(|sub| over(sub.expires_at));
        over.map(|sub| name(sub).clone()).collect()
    }
}

fn name(sub: &Sub) -> &Arc<str> {
    let channel: &Arc<Channel> = sub.subscription.channel();
    channel.name()
}
