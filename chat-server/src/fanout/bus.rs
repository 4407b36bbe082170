//! The bus: what nodes tell each other, so that several behave as one.
//!
//! ```text
//! Fanout, presence, Control -> Bus::say -> Redis -> the other nodes: Receiver::receive
//! Hub: a channel in use     -> Bus::listen -> a guard; dropping it stops listening
//! ```
//! A message is encoded once for all nodes. The bus may lose what it is given, and never repeats
//! or reorders it within a topic: whatever must not be lost is repaired from where it is stored.
//! Saying never waits. Alone, a node has nobody to tell and is always heard.

mod line;
mod listener;
mod message;
mod meters;
mod speaker;
mod stamp;
mod transport;
mod wanted;

use std::sync::Arc;

use chassis::ops::{Check, Status};
use tokio::sync::watch;
use uuid::Uuid;

pub use message::{
    Crowd, LogEvent, Malformed, Message, Order, Outcome, What, decode, encode, is_said_by,
};
pub use meters::Meters;
pub use transport::{Tasks, Transport};
use wanted::Confirmed;

/// Why nothing is heard before the first connection.
const CONNECTING: &str = "connecting";

/// The way to the other nodes; clones share it.
#[derive(Debug, Clone)]
pub enum Bus {
    /// There are none.
    Local,
    /// Through Redis.
    Redis(Arc<Transport>),
}

/// Who hears a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic<'a> {
    /// Every node where somebody is in the channel.
    Channel(&'a str),
    /// One node, by its id.
    Node(&'a str),
}

/// Whether nodes hear each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusState {
    /// They do.
    Up,
    /// They do not, or not on every topic, for this reason: `connecting`, or the word of a
    /// [`Fault`](chassis::redis::Fault).
    Down(&'static str),
}

/// What becomes of messages. Those of a topic come one after the other; on a cluster those of
/// topics on other servers may come at the same time. It must not block.
pub trait Receiver: Send + Sync + 'static {
    /// Another node said something on a topic that is listened to.
    fn receive(&self, from: Uuid, topic: Topic<'_>, message: Message);

    /// Everything is listened to again after a time when nothing was heard.
    fn resumed(&self);
}

/// A channel that is listened to for as long as this lives.
#[derive(Debug)]
pub struct Listening {
    topic: Arc<str>,
    transport: Arc<Transport>,
    confirmed: Arc<Confirmed>,
}

impl Bus {
    /// Tells other nodes; whether they hear it is not known.
    pub fn say(&self, topic: Topic<'_>, message: &Message) {
        if let Self::Redis(transport) = self {
            transport.say(topic, message);
        }
    }

    /// Tells other nodes and waits until it was passed on to all that listen: how many those were,
    /// this one included; `None` when that is not known. It may overtake what was said before.
    pub async fn tell(&self, topic: Topic<'_>, message: &Message) -> Option<u64> {
        match self {
            Self::Local => Some(0),
            Self::Redis(transport) => transport.tell(topic, message).await,
        }
    }

    /// Hears what others say in a channel.
    #[must_use]
    pub fn listen(&self, channel: &Arc<str>) -> Option<Listening> {
        match self {
            Self::Local => None,
            Self::Redis(transport) => Some(Transport::listen(transport, channel)),
        }
    }

    /// Whether nodes hear each other; changes are told.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<BusState> {
        match self {
            Self::Local => watch::channel(BusState::Up).1,
            Self::Redis(transport) => transport.state(),
        }
    }

    /// True while nodes hear each other.
    #[must_use]
    pub fn is_up(&self) -> bool {
        match self {
            Self::Local => true,
            Self::Redis(transport) => *transport.state().borrow() == BusState::Up,
        }
    }

    /// True while the server that has a topic is reached: on a cluster the others do not matter.
    #[must_use]
    pub fn reaches(&self, topic: Topic<'_>) -> bool {
        match self {
            Self::Local => true,
            Self::Redis(transport) => transport.reaches(topic),
        }
    }

    /// What `/health/ready` says of it: a node without the others still serves its clients.
    #[must_use]
    pub fn health(&self) -> Check {
        let (bus, state) = (self.clone(), self.state());
        Check::new("bus", move || match (*state.borrow(), &bus) {
            (BusState::Down(reason), _) => Status::Degraded(reason.to_owned()),
            // What nodes say passes, what they share in Redis may not.
            (BusState::Up, Self::Redis(transport)) => match transport.refusal() {
                Some(fault) => Status::Degraded(fault.word().to_owned()),
                None => Status::Ok,
            },
            (BusState::Up, Self::Local) => Status::Ok,
        })
    }
}

impl Listening {
    /// Waits until everything said from now on is heard; false when it may take long, because the
    /// bus is away: then [`Receiver::resumed`] tells.
    pub async fn confirmed(&self) -> bool {
        self.transport.confirmed(&self.topic, &self.confirmed).await
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.transport.forget(&self.topic);
    }
}
