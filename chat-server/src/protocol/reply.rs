//! What the server answers to commands.
//!
//! Shared text (`Arc<str>`) and payloads ([`Json`]) clone without copying, for one publication
//! goes to history, to every encoding and into many replies.
//!
//! Invariant: `ttl` is seconds until a token expires and `None` when it does not; a publication's
//! offset of 0 means that it has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ErrorReply, Extensions, Json};

/// The answer to the command with the same `id`, which is never 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub id: u32,
    pub body: Result<ReplyBody, ErrorReply>,
}

impl Reply {
    /// A command that was done.
    #[must_use]
    pub const fn ok(id: u32, body: ReplyBody) -> Self {
        Self { id, body: Ok(body) }
    }

    /// A command that was refused.
    #[must_use]
    pub const fn error(id: u32, error: ErrorReply) -> Self {
        Self { id, body: Err(error) }
    }
}

/// The result of a command, by its kind.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplyBody {
    Connect(Box<ConnectResult>),
    Subscribe(Box<SubscribeResult>),
    Unsubscribe,
    Publish(PublishResult),
    /// Who is in the channel, by client id.
    Presence(Vec<(Arc<str>, ClientInfo)>),
    PresenceStats(PresenceStatsResult),
    History(HistoryResult),
    Ping,
    Rpc {
        data: Option<Json>,
    },
    Refresh(RefreshResult),
    SubRefresh {
        ttl: Option<u32>,
    },
}

/// The connection is authenticated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConnectResult {
    /// The connection's id, known to others: presence, join and leave show it.
    pub client: Arc<str>,
    pub version: Arc<str>,
    pub ttl: Option<u32>,
    pub data: Option<Json>,
    /// Subscriptions the server made, by channel.
    pub subs: Vec<(Arc<str>, SubscribeResult)>,
    /// Seconds between the server's pings; 0 when it sends none.
    pub ping_interval: u32,
    /// Whether the client must answer pings.
    pub pong: bool,
    /// What `/emulation` asks for: a secret of 128 bits. Empty on a WebSocket.
    pub session: Arc<str>,
    /// The node that `/emulation` must reach. Empty on a WebSocket.
    pub node: Arc<str>,
    /// The server's clock in Unix milliseconds; 0 is left out.
    pub time_ms: i64,
    /// What was granted of what `connect.veza` asked for.
    pub veza: Extensions,
}

/// A subscription is live.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SubscribeResult {
    pub ttl: Option<u32>,
    pub recoverable: bool,
    pub positioned: bool,
    pub epoch: Arc<str>,
    /// The offset of the last of `publications` when recovering, the stream's head otherwise.
    pub offset: u64,
    /// What was missed, oldest first.
    pub publications: Vec<Publication>,
    pub recovered: bool,
    pub was_recovering: bool,
    pub data: Option<Json>,
}

/// A publication was accepted. A channel without history sends nothing but the fact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PublishResult {
    /// Where the publication stands; 0 without history.
    pub offset: u64,
    pub epoch: Arc<str>,
    pub id: Option<Arc<str>>,
    /// The same was published before; `offset` and `id` are those of the first.
    pub duplicate: bool,
    pub status: Option<&'static str>,
}

/// How many are in a channel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresenceStatsResult {
    pub num_clients: u32,
    pub num_users: u32,
}

/// A page of history and the head of the stream.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistoryResult {
    pub publications: Vec<Publication>,
    pub epoch: Arc<str>,
    pub offset: u64,
}

/// A new connection token was accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefreshResult {
    pub client: Arc<str>,
    pub version: Arc<str>,
    pub ttl: Option<u32>,
}

/// One publication, as it stands in history, in recovery and in pushes.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    pub data: Json,
    /// Who published it; `None` when a server did.
    pub info: Option<ClientInfo>,
    /// 0 when the publication is outside the stream.
    pub offset: u64,
    pub tags: BTreeMap<String, String>,
    /// Unix milliseconds; 0 is left out.
    pub time_ms: i64,
}

impl Publication {
    /// A publication with nothing but its data.
    #[must_use]
    pub const fn new(data: Json) -> Self {
        Self { data, info: None, offset: 0, tags: BTreeMap::new(), time_ms: 0 }
    }
}

/// Who is behind a connection.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientInfo {
    /// Empty for an anonymous connection.
    pub user: Arc<str>,
    pub client: Arc<str>,
    pub conn_info: Option<Json>,
    pub chan_info: Option<Json>,
}
