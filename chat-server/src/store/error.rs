//! Why the store did not do something.

use std::sync::Arc;
use std::time::Duration;

use crate::room::Denied;

/// Why nothing was done.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The database cannot be used now; whether the last write was done is not known.
    #[error("the store is not available: {reason}")]
    Unavailable {
        /// A stable word: `store_down`, `store_busy`, `store_timeout`, `store_read_only`,
        /// `store_full`, `store_locked`.
        reason: &'static str,
        /// When it makes sense to try again.
        retry_after: Duration,
    },
    /// The person may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// There is no such thing.
    #[error("no such {}", .0.word())]
    Missing(Missing),
    /// It contradicts what is there.
    #[error("{}", .0.message())]
    Conflict(Conflict),
    /// There are as many as there may be.
    #[error("{what}: at most {limit}")]
    Limit {
        /// A stable word for what.
        what: &'static str,
        /// The most there may be.
        limit: u64,
    },
    /// An offset that nothing was written at yet.
    #[error("the log ends at {head}")]
    BeyondHead {
        /// The newest offset.
        head: u64,
        /// The one asked for.
        got: u64,
    },
    /// What is stored, or a statement, is wrong: a bug of ours.
    #[error("the store is broken: {0}")]
    Broken(String),
    /// Anything else the database said.
    #[error(transparent)]
    Database(Arc<sqlx::Error>),
}

/// When to try again: the probe has looked again by then, and what was not answered in time may
/// have been done.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

impl Error {
    /// The store cannot be used now, for one of the reasons of [`Error::Unavailable`].
    pub(super) const fn unavailable(reason: &'static str) -> Self {
        Self::Unavailable { reason, retry_after: RETRY_AFTER }
    }

    /// The store did not answer in time.
    #[must_use]
    pub const fn late() -> Self {
        Self::unavailable("store_timeout")
    }
}

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// The room.
    Room,
    /// The message, in that room.
    Message,
    /// The person, in that room.
    Member,
}

/// What it contradicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// The same `idem` came with another body before.
    IdemReused,
    /// A room is never without an owner.
    LastOwner,
    /// The message is deleted.
    Deleted,
    /// The person is in the room already.
    AlreadyMember,
    /// The person is banned from the room.
    Banned,
    /// The id stands for people who were erased.
    Placeholder,
}

impl Missing {
    /// The word on the wire.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Message => "message",
            Self::Member => "member",
        }
    }

    /// The field of a request that names it.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Room => "room",
            Self::Message => "message",
            Self::Member => "user",
        }
    }
}

impl Conflict {
    /// The stable word on the wire.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::IdemReused => "idem_reused",
            Self::LastOwner => "last_owner",
            Self::Deleted => "deleted",
            Self::AlreadyMember => "already_member",
            Self::Banned => "user_banned",
            Self::Placeholder => "placeholder",
        }
    }

    /// For people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::IdemReused => "this idem was used for another message",
            Self::LastOwner => "the last owner cannot leave or step down",
            Self::Deleted => "the message is deleted",
            Self::AlreadyMember => "this person is in the room already",
            Self::Banned => "this person is banned from the room",
            Self::Placeholder => "this id stands for people who were erased",
        }
    }
}
