//! A channel in one wire format: what a shard knows as a topic.

use std::sync::Arc;

use bytes::Bytes;
use chassis::delivery::{Topic, TopicId};

use super::Channel;
use crate::outbound::Format;
use crate::protocol::Push;

/// Who is addressed within a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Every subscriber.
    Everyone,
    /// Those who asked for joins and leaves, where not everyone gets them.
    JoinLeave,
}

/// Topics of one channel: every format for each audience.
pub(super) const OUTLETS: usize = Format::ALL.len() * 2;

pub(super) struct Outlet {
    channel: Arc<Channel>,
    format: Format,
    audience: Audience,
}

/// The place of an outlet among those of its channel.
pub(super) const fn index(format: Format, audience: Audience) -> usize {
    match audience {
        Audience::Everyone => format.index(),
        Audience::JoinLeave => Format::ALL.len() + format.index(),
    }
}

impl Outlet {
    pub(super) fn new(channel: Arc<Channel>, format: Format, audience: Audience) -> Arc<Self> {
        Arc::new(Self { channel, format, audience })
    }
}

impl Topic for Outlet {
    fn id(&self) -> TopicId {
        self.channel.topic(index(self.format, self.audience))
    }

    fn published(&self) -> u64 {
        self.channel.published()
    }

    fn gap(&self, from: u64, to: u64) -> Bytes {
        let (channel, epoch) = (self.channel.name().clone(), self.channel.epoch());
        self.format.push(&Push::Lag { channel, from, to, epoch })
    }
}
