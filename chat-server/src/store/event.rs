//! What goes into a log and what comes out of it.

use std::sync::Arc;

use tokio::time::Instant;
use uuid::Uuid;

use crate::protocol::{Json, Publication};
use crate::room::{LogId, MessageId};

use super::Error;

/// What kind of change an event is; the numbers are those of the store. 5 (pin), 9 (verdict) and
/// 10 (mls) are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// Somebody said something.
    Message,
    /// A message was changed.
    Edit,
    /// A message was deleted.
    Delete,
    /// A reaction was added or taken.
    Reaction,
    /// Somebody came, went, or is something else now.
    Member,
    /// The room itself was changed.
    Room,
    /// In a person's feed: a read mark moved on another of their devices.
    Read,
    /// In a person's feed: whatever the platform's backend says.
    Data,
}

/// One event as it stands now; what clients get.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its place in the log.
    pub offset: u64,
    /// When it was written, in Unix milliseconds.
    pub time_ms: i64,
    /// What it says.
    pub data: Json,
}

/// A message that is to be appended.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Where to.
    pub log: LogId,
    /// The channel of that log.
    pub channel: Arc<str>,
    /// Its id, unless it turns out to be a duplicate.
    pub id: MessageId,
    /// What it is.
    pub kind: EventKind,
    /// Who says it; empty is the server.
    pub sender: Arc<str>,
    /// The same key from the same sender is the same message.
    pub idem: Option<Uuid>,
    /// What the sender sent, hashed: the same key with another digest is a conflict.
    pub digest: i64,
    /// The event as clients get it.
    pub data: Json,
    /// Whether the sender's right to write is checked again under the room's lock.
    pub access: Access,
    /// When it was accepted.
    pub accepted: Instant,
}

/// Whose right to write it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The sender's, as a member: banned, muted, gone or archived meanwhile is refused.
    Member,
    /// The server's own.
    Server,
}

/// Where a draft ended up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its place; that of the first for a duplicate.
    pub offset: u64,
    /// Its id; that of the first for a duplicate.
    pub id: MessageId,
    /// When it was written, in Unix milliseconds.
    pub time_ms: i64,
    /// It was there already; nothing was written.
    pub duplicate: bool,
}

/// What became of one draft.
pub type Outcome = Result<Appended, Error>;

/// An earlier event that stands differently now.
#[derive(Debug, Clone, PartialEq)]
pub struct Amend {
    /// Which one.
    pub offset: u64,
    /// What it says now.
    pub data: Json,
}

/// A committed event on its way to everyone in its channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Published {
    /// The log, and
    pub log: LogId,
    /// its channel.
    pub channel: Arc<str>,
    /// What happened.
    pub event: Event,
    /// What it changed in earlier events of the same log.
    pub amends: Vec<Amend>,
    /// When the message was accepted, for those whose way to the sockets is measured.
    pub accepted: Option<Instant>,
}

/// What a committed change did.
#[derive(Debug, Clone, PartialEq)]
pub struct Change<T> {
    /// What whoever asked is told.
    pub value: T,
    /// What everyone is told; in the order of the offsets of each log. Empty when nothing changed.
    pub published: Vec<Published>,
}

impl EventKind {
    const ALL: [Self; 8] = [
        Self::Message,
        Self::Edit,
        Self::Delete,
        Self::Reaction,
        Self::Member,
        Self::Room,
        Self::Read,
        Self::Data,
    ];

    /// The number in the store.
    #[must_use]
    pub const fn number(self) -> i16 {
        match self {
            Self::Message => 1,
            Self::Edit => 2,
            Self::Delete => 3,
            Self::Reaction => 4,
            Self::Member => 6,
            Self::Room => 7,
            Self::Read => 8,
            Self::Data => 11,
        }
    }

    /// The kind of a number in the store.
    #[must_use]
    pub fn of(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The word for people and files; mostly the `type` of its events.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Message => "message",
            Self::Edit => "edit",
            Self::Delete => "delete",
            Self::Reaction => "reaction",
            Self::Member => "member",
            Self::Room => "room",
            Self::Read => "read",
            Self::Data => "data",
        }
    }
}

impl Event {
    /// As it goes to clients.
    #[must_use]
    pub fn publication(&self) -> Publication {
        let Self { offset, time_ms, .. } = *self;
        Publication { offset, time_ms, ..Publication::new(self.data.clone()) }
    }
}

impl<T> Change<T> {
    /// A change with nothing to tell.
    #[must_use]
    pub const fn nothing(value: T) -> Self {
        Self { value, published: Vec::new() }
    }
}
