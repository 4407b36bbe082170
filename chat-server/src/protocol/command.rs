//! What a client asks: the commands, as the session sees them whatever the encoding was.
//!
//! Not here: whether a channel name is valid, a limit is in range or a token is good; the
//! session and the command modules decide that.
//!
//! Invariant: tokens are secrets, no `Debug` output shows them; an empty token is `None`.

use std::sync::Arc;

use secrecy::SecretString;

use super::Json;

/// One command. A reply carries the same `id`; 0 means that no reply is wanted (`send` only).
#[derive(Debug, Clone)]
pub struct Command {
    pub id: u32,
    pub request: Request,
}

/// What a command asks for.
#[derive(Debug, Clone)]
pub enum Request {
    Connect(Box<Connect>),
    Subscribe(Box<Subscribe>),
    Unsubscribe {
        channel: String,
    },
    Publish {
        channel: String,
        data: Json,
    },
    Presence {
        channel: String,
    },
    PresenceStats {
        channel: String,
    },
    History(History),
    Ping,
    /// A message to the server that is never answered unless it carries an id and is refused.
    Send {
        data: Option<Json>,
    },
    Rpc {
        method: String,
        data: Option<Json>,
    },
    Refresh {
        token: Option<SecretString>,
    },
    SubRefresh {
        channel: String,
        token: Option<SecretString>,
    },
}

/// The first command of every connection.
#[derive(Debug, Clone, Default)]
pub struct Connect {
    /// `None` asks for an anonymous connection.
    pub token: Option<SecretString>,
    pub data: Option<Json>,
    /// The client library or application, for logs only.
    pub name: String,
    pub version: String,
    /// Server-side subscriptions to recover, each channel once.
    pub subs: Vec<Subscribe>,
    pub flag: i64,
    /// Our own extensions the client understands.
    pub veza: Extensions,
}

/// Extensions of ours, asked for in `connect` and echoed in its reply when granted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions {
    /// The client fetches what a `lag` push names instead of being closed when it is slow.
    pub lag: bool,
    /// The client obeys `after_ms` of a disconnect push.
    pub after: bool,
}

/// A subscription asked for, by `subscribe` or within `connect`.
#[derive(Debug, Clone, Default)]
pub struct Subscribe {
    pub channel: String,
    pub token: Option<SecretString>,
    /// The client was here before and asks for what came after `offset` in `epoch`.
    pub recover: bool,
    pub offset: u64,
    pub epoch: String,
    pub data: Option<Json>,
    pub positioned: bool,
    pub recoverable: bool,
    pub join_leave: bool,
    /// Bits [`Subscribe::FLAG_COMPACTION`] and [`Subscribe::FLAG_REJECT_UNRECOVERED`].
    pub flag: i64,
    /// 0 is an ordinary subscription, the only kind served.
    pub kind: i32,
    pub has_delta: bool,
    /// Whether the client asked to filter publications by their tags.
    pub has_tag_filter: bool,
}

impl Subscribe {
    /// Replace the channel name by a number in pushes: never granted, which clients accept.
    pub const FLAG_COMPACTION: i64 = 1;
    /// Answer error 112 instead of subscribing when the position cannot be recovered.
    pub const FLAG_REJECT_UNRECOVERED: i64 = 2;

    /// Whether an unrecoverable position must be answered with error 112.
    #[must_use]
    pub const fn rejects_unrecovered(&self) -> bool {
        self.flag & Self::FLAG_REJECT_UNRECOVERED != 0
    }
}

/// A page of a channel's history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    pub channel: String,
    /// As the client sent it: 0 asks for the position alone, -1 for as much as allowed.
    pub limit: i32,
    /// Where to start, exclusive; `None` is the oldest publication, or the newest in reverse.
    pub since: Option<Position>,
    pub reverse: bool,
}

/// A place in a channel's stream. Offsets start at 1; 0 lies before the first publication.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Position {
    pub offset: u64,
    /// Names the life of the stream: offsets of different epochs do not compare.
    pub epoch: Arc<str>,
}
