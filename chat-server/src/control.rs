//! What the server's side does to its clients: publish, subscribe, message, refresh, disconnect.
//!
//! The orders of the platform's backend. They go through the mailboxes of the sessions concerned;
//! each session acts on its own. In one process they arrive within a turn of its task.

use std::sync::Arc;

use tokio::time::Instant;

use crate::channel::{ChannelName, Full, InvalidName, Place};
use crate::command::Services;
use crate::protocol::{DisconnectCode, Json, Position, Publication, UnsubscribeCode};
use crate::room::{LogId, MessageId};
use crate::session::registry::Directive;
use crate::store::{self, Access, Appended, Draft, EventKind};

/// Orders to the sessions of this process; cheap to clone.
#[derive(Debug, Clone)]
pub struct Control {
    services: Arc<Services>,
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
        let channel = hub.channel(&name, options)?;
        Ok(channel.publish(Publication::new(data), Instant::now()))
    }

    /// Ends the connections of a user; returns how many there were.
    #[must_use]
    pub fn disconnect(&self, user: &str, code: DisconnectCode) -> usize {
        self.tell(user, &Directive::Disconnect(code))
    }

    /// Takes a user out of a channel.
    #[must_use]
    pub fn unsubscribe(&self, user: &str, channel: &str, code: UnsubscribeCode) -> usize {
        self.tell(user, &Directive::Unsubscribe(channel.into(), code))
    }

    /// Subscribes a user's connections to a channel.
    #[must_use]
    pub fn subscribe(&self, user: &str, channel: &str) -> usize {
        self.tell(user, &Directive::Subscribe(channel.into()))
    }

    /// A user's connections are good until then (Unix seconds), or for ever.
    #[must_use]
    pub fn refresh(&self, user: &str, expires_at: Option<u64>) -> usize {
        self.tell(user, &Directive::Refresh(expires_at))
    }

    /// Sends a message outside of every channel.
    #[must_use]
    pub fn send(&self, user: &str, data: Json) -> usize {
        self.tell(user, &Directive::Message(data))
    }

    fn tell(&self, user: &str, directive: &Directive) -> usize {
        let sessions = self.services.registry.of_user(user);
        // A full mailbox belongs to a client that is being cut already.
        sessions.iter().filter(|session| session.tell(directive.clone()).is_ok()).count()
    }
}
