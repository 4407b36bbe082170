//! What can be asked of the server: one file a family, the same layer for every door.
//!
//! A command reads the state of a session and the services of the process and returns what came
//! of it, or a [`Refusal`]; the session queues replies and changes its own state. Nothing here
//! writes to a connection.

mod authority;
mod connect;
mod doorkeeper;
mod enter;
mod fields;
mod history;
mod post;
mod presence;
mod publish;
pub mod read_marks;
mod refresh;
mod refusal;
mod rpc;
mod subscribe;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chassis::auth::{Claims, TokenError, Verifier};
use chassis::rate_limit::{Bucket, Keyed, Quota, RetryAfter};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

pub use authority::Authority;
pub use connect::{Connected, connect};
pub use doorkeeper::{follow, may_stay};
pub use enter::{Entered, Entering, Start};
pub(crate) use enter::{PAGE_PUBLICATIONS_MAX, between};
pub use history::history;
pub use post::SlowMode;
pub use presence::{presence, presence_stats};
pub use publish::{Post, publish, typing};
pub use read_marks::ReadMarks;
pub use refresh::{Renewal, refresh, sub_refresh};
pub use rpc::rpc;
pub use subscribe::{enter_for_server, subscribe};

use crate::channel::{ChannelName, Hub, InvalidName, Options, Place};
use crate::config::{Limits, Timing};
use crate::fanout::Fanout;
use crate::fanout::bus::Bus;
use crate::metrics::Metrics;
use crate::nodes::{Nodes, Presence, Seats};
use crate::protocol::{ClientInfo, DisconnectCode, ErrorCode, ErrorReply};
use crate::room::Act;
use crate::session::Subs;
use crate::session::registry::Registry;
use crate::session::remote::Remote;
use crate::store::{Committer, Store};

/// How long a key source may take: SDKs give up after five seconds.
const VERIFY_TIMEOUT: Duration = Duration::from_millis(3500);

/// Bursts of commands are this many seconds' worth: SDKs subscribe to everything at once.
const COMMAND_BURST_SECONDS: u32 = 5;

/// What every command works with; one for the process.
#[derive(Debug)]
pub struct Services {
    /// The channels.
    pub hub: Arc<Hub>,
    /// Rooms, and what is said in them.
    pub store: Arc<Store>,
    /// The writer of messages.
    pub committer: Arc<Committer>,
    /// What people are in rooms.
    pub authority: Authority,
    /// How what is committed gets to everyone.
    pub fanout: Arc<Fanout>,
    /// The sessions.
    pub registry: Arc<Registry>,
    /// The sessions of other nodes.
    pub remote: Remote,
    /// Who verifies tokens.
    pub verifier: Arc<Verifier>,
    /// The limits.
    pub limits: Limits,
    /// The deadlines.
    pub timing: Timing,
    /// Whether clients without a token are let in.
    pub anonymous: bool,
    /// The way to the other nodes.
    pub bus: Bus,
    /// What is shared with them; `None` for a node alone.
    pub nodes: Option<Arc<Nodes>>,
    /// Who is in which channel.
    pub presence: Arc<Presence>,
    /// The connections of each person on all of them.
    pub seats: Option<Arc<Seats>>,
    /// The name of this process among others.
    pub node: Arc<str>,
    /// What clients are told.
    pub version: Arc<str>,
    /// Publishes of each user.
    pub message_rate: Keyed<Arc<str>>,
    /// Who posted last in rooms with slow mode.
    pub slow_mode: SlowMode,
    /// Read marks that were told lately.
    pub read_marks: ReadMarks,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// Who asks: the part of a session that commands see.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a> {
    /// Who it is; `conn_info` holds the name.
    pub info: &'a Arc<ClientInfo>,
    /// Where it is subscribed.
    pub subs: &'a Subs,
}

/// Why a command is not done.
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// The command is answered with this.
    Error(ErrorReply),
    /// The connection ends.
    Disconnect(DisconnectCode),
}

impl From<ErrorReply> for Refusal {
    fn from(error: ErrorReply) -> Self {
        Self::Error(error)
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Error(code.into())
    }
}

impl From<DisconnectCode> for Refusal {
    fn from(code: DisconnectCode) -> Self {
        Self::Disconnect(code)
    }
}

impl From<InvalidName> for Refusal {
    fn from(invalid: InvalidName) -> Self {
        let error = ErrorReply::new(ErrorCode::BadRequest)
            .with_message(invalid.to_string())
            .with_reason(invalid.reason())
            .with_field("channel");
        match invalid {
            InvalidName::TooLong { got } => {
                error.with_limit(crate::channel::NAME_BYTES_MAX as u64, got as u64).into()
            }
            InvalidName::Empty | InvalidName::Character => error.into(),
        }
    }
}

impl Services {
    /// The quota of [`Services::message_rate`], for those who have no user.
    #[must_use]
    pub fn message_quota(&self) -> Quota {
        Quota::per_second(at_least_one(self.limits.message_rate))
    }

    /// The quota of all other commands of one connection.
    #[must_use]
    pub fn command_quota(&self) -> Quota {
        let rate = self.limits.command_rate;
        quota(rate, rate.saturating_mul(COMMAND_BURST_SECONDS))
    }

    /// One publish of a caller; people share their quota over connections, `anonymous` does not.
    pub(crate) fn count_publish(
        &self,
        info: &ClientInfo,
        anonymous: &mut Bucket,
    ) -> Result<(), Refusal> {
        let counted = match info.user.is_empty() {
            true => anonymous.take(self.message_quota(), Instant::now()),
            false => self.message_rate.check(&info.user),
        };
        counted.map_err(|wait| too_fast(wait, "message_rate", self.limits.message_rate))
    }

    /// The name and options of a channel that exists.
    fn channel(&self, text: &str) -> Result<(ChannelName, &Arc<Options>), Refusal> {
        let name = ChannelName::parse(text)?;
        match self.hub.options(&name) {
            Some(options) => Ok((name, options)),
            None => {
                let error = ErrorReply::new(ErrorCode::UnknownChannel);
                Err(error.with_reason("unknown_namespace").with_field("channel").into())
            }
        }
    }

    /// May the caller do what only reads in this channel?
    async fn may_read(
        &self,
        caller: Caller<'_>,
        name: &ChannelName,
        options: &Options,
        allowed: bool,
    ) -> Result<(), Refusal> {
        match name.place() {
            Place::Room(Some(room)) => {
                let permit = self.authority.permit(room, &caller.info.user, Act::Read).await;
                permit.map(|_| ()).map_err(subscribe::unknown_room)
            }
            Place::User(user) => caller.may(name, options, allowed && user == &*caller.info.user),
            _ => caller.may(name, options, allowed),
        }
    }

    async fn verify(&self, token: &SecretString) -> Result<Claims, TokenError> {
        let verified = self.verifier.verify(token.expose_secret());
        match tokio::time::timeout(VERIFY_TIMEOUT, verified).await {
            Ok(result) => result,
            Err(_elapsed) => Err(TokenError::KeysUnavailable),
        }
    }
}

impl Caller<'_> {
    /// Who may do something in a channel that is allowed there: anyone connected who could also
    /// subscribe, or, where that takes a token, who is subscribed.
    fn may(&self, name: &ChannelName, options: &Options, allowed: bool) -> Result<(), Refusal> {
        let open = options.allow_subscribe && !options.subscribe_token_required;
        let inside = open || self.subs.find(name.shared()).is_some();
        if allowed && inside {
            return Ok(());
        }
        let reason = if allowed { "not_subscribed" } else { "not_allowed" };
        Err(subscribe::denied(reason).into())
    }
}

pub(crate) fn too_fast(wait: RetryAfter, reason: &'static str, limit: u32) -> Refusal {
    let milliseconds = u64::try_from(wait.0.as_millis()).unwrap_or(u64::MAX).max(1);
    ErrorReply::new(ErrorCode::TooManyRequests)
        .with_reason(reason)
        .with_limit(u64::from(limit), u64::from(limit) + 1)
        .with_retry_after_ms(milliseconds)
        .into()
}

/// Seconds from now until `expires_at`, as clients are told.
#[must_use]
pub fn ttl(expires_at: Option<u64>) -> Option<u32> {
    let seconds = expires_at?.saturating_sub(unix_seconds());
    Some(u32::try_from(seconds).unwrap_or(u32::MAX).max(1))
}

/// The time of day; tokens speak of it.
#[must_use]
pub fn unix_seconds() -> u64 {
    unix_millis() / 1000
}

/// The time of day in milliseconds.
#[must_use]
pub fn unix_millis() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// So many a second, and so many at once.
pub(crate) fn quota(per_second: u32, burst: u32) -> Quota {
    Quota::per_second(at_least_one(per_second)).with_burst(at_least_one(burst))
}

/// A limit of none would be no server: one is the least.
pub(crate) fn at_least_one(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN)
}
