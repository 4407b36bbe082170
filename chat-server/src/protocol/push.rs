//! What the server sends of its own accord.
//!
//! Invariant: the text of a disconnect or unsubscribe push is the code's own, so a client reads
//! the same words in a push, in a close frame and in docs/PROTOCOL.md.

use std::sync::Arc;

use super::{ClientInfo, DisconnectCode, Json, Publication, UnsubscribeCode};

/// A message that answers no command.
#[derive(Debug, Clone, PartialEq)]
pub enum Push {
    Pub {
        channel: Arc<str>,
        publication: Publication,
    },
    Join {
        channel: Arc<str>,
        info: ClientInfo,
    },
    Leave {
        channel: Arc<str>,
        info: ClientInfo,
    },
    /// The server ended a subscription; from code 2500 the client subscribes again.
    Unsubscribe {
        channel: Arc<str>,
        code: UnsubscribeCode,
    },
    /// The server subscribed the client.
    Subscribe {
        channel: Arc<str>,
        recoverable: bool,
        positioned: bool,
        epoch: Arc<str>,
        offset: u64,
        data: Option<Json>,
    },
    /// A message to this connection, outside any channel.
    Message {
        data: Json,
    },
    Disconnect {
        code: DisconnectCode,
        /// When to go and come back, for clients that were granted `after`.
        after_ms: Option<u64>,
    },
    /// The expiry of the connection changed.
    Refresh {
        ttl: Option<u32>,
    },
    /// Publications `from..=to` were not sent to this slow client, which fetches them itself.
    /// Only for clients that were granted `lag`.
    Lag {
        channel: Arc<str>,
        from: u64,
        to: u64,
        epoch: Arc<str>,
    },
}

impl Push {
    /// The channel concerned; `None` for what concerns the connection.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        match self {
            Self::Pub { channel, .. }
            | Self::Join { channel, .. }
            | Self::Leave { channel, .. }
            | Self::Unsubscribe { channel, .. }
            | Self::Subscribe { channel, .. }
            | Self::Lag { channel, .. } => Some(channel),
            Self::Message { .. } | Self::Disconnect { .. } | Self::Refresh { .. } => None,
        }
    }
}
