//! What the server's side does to its clients: publish, subscribe, message, refresh, disconnect.
//!
//! The orders of the platform's backend. They go through the mailboxes of the sessions concerned;
//! each session acts on its own. Here they arrive within a turn of its task. On other nodes they
//! arrive by the bus, on the topic of the person's feed: a node listens to it before it answers a
//! `connect`, and until that connection ends, so an order given after the answer is heard there.
//! An order is said once: a node that hears nothing at that moment does not learn of it later.

use std::sync::Arc;

use tokio::time::Instant;

use crate::channel::{ChannelName, Full, InvalidName, Place};
use crate::command::Services;
use crate::fanout;
use crate::fanout::bus::{Bus, Message, Order, Topic, What};
use crate::nodes::Unavailable;
use crate::protocol::{DisconnectCode, Json, Position, Publication, UnsubscribeCode};
use crate::room::{LogId, MessageId};
use crate::store::{self, Access, Appended, Draft, EventKind};

/// Orders to the sessions of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    services: Arc<Services>,
}

/// How far an order went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// Connections of this node that were told.
    pub here: usize,
    /// What became of it on its way to the other nodes.
    pub elsewhere: Elsewhere,
}

/// Whether the other nodes were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elsewhere {
    /// There is nobody to tell: this node is alone, or the person has no name.
    NotNeeded,
    /// Every node that hears the others and has connections of the person.
    Told,
    /// The way to them did not take the order in time; they may have heard it all the same. The
    /// same order may be given again: none of them does harm twice.
    Unknown,
}

/// Why nothing could be published.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// No options are known for the channel.
    #[error("unknown channel")]
    UnknownChannel,
    /// There are too many channels.
    #[error(transparent)]
    Full(#[from] Full),
    /// The feed cannot be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// What the nodes keep of the channel cannot be reached.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl Control {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self { services }
    }

    /// Publishes on behalf of the server, in any channel but a room's, where people speak; nobody
    /// is named as the sender. In a person's feed it is durable when this returns.
    ///
    /// # Errors
    /// When there is no such channel, or the store does not take it.
    pub async fn publish(&self, channel: &str, data: Json) -> Result<Position, PublishError> {
        let name = ChannelName::parse(channel)?;
        let hub = &self.services.hub;
        let options = hub.options(&name).ok_or(PublishError::UnknownChannel)?;
        match name.place() {
            Place::Room(_) => return Err(PublishError::UnknownChannel),
            Place::User(user) => {
                let draft = Draft {
                    log: LogId::of_feed(user),
                    channel: name.shared().clone(),
                    id: MessageId::new(),
                    kind: EventKind::Data,
                    sender: "".into(),
                    idem: None,
                    digest: 0,
                    data,
                    access: Access::Server,
                    accepted: Instant::now(),
                };
                let Appended { offset, .. } = self.services.committer.append(draft).await?;
                return Ok(Position { offset, epoch: hub.log_epoch() });
            }
            _ => {}
        }
        let publication = Publication::new(data);
        let published =
            self.services.fanout.publish_plain(&name, options, publication, Instant::now());
        published.await.map_err(|error| match error {
            fanout::PublishError::Full(full) => full.into(),
            fanout::PublishError::Unavailable(unavailable) => unavailable.into(),
        })
    }

    /// Ends the connections of a user.
    pub async fn disconnect(&self, user: &str, code: DisconnectCode) -> Reached {
        self.tell(user, What::Disconnect(code)).await
    }

    /// Takes a user out of a channel.
    pub async fn unsubscribe(&self, user: &str, channel: &str, code: UnsubscribeCode) -> Reached {
        self.tell(user, What::Unsubscribe(channel.into(), code)).await
    }

    /// Subscribes a user's connections to a channel.
    pub async fn subscribe(&self, user: &str, channel: &str) -> Reached {
        self.tell(user, What::Subscribe(channel.into())).await
    }

    /// A user's connections are good until then (Unix seconds), or for ever.
    pub async fn refresh(&self, user: &str, expires_at: Option<u64>) -> Reached {
        self.tell(user, What::Refresh(expires_at)).await
    }

    /// Sends a message outside of every channel.
    pub async fn send(&self, user: &str, data: Json) -> Reached {
        self.tell(user, What::Message(data)).await
    }

    async fn tell(&self, user: &str, what: What) -> Reached {
        let order = Order { user: user.into(), what };
        // First, and without waiting for anything: the connections of this node need no bus.
        let here = self.services.registry.obey(&order);
        let elsewhere = match &self.services.bus {
            Bus::Redis(_) if !user.is_empty() => {
                let feed = ChannelName::of_user(user);
                let topic = Topic::Channel(feed.shared());
                match self.services.bus.tell(topic, &Message::Order(order)).await {
                    Some(_) => Elsewhere::Told,
                    None => Elsewhere::Unknown,
                }
            }
            _ => Elsewhere::NotNeeded,
        };
        Reached { here, elsewhere }
    }
}
