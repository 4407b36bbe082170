//! The histories of channels without a log of their own, in Redis: one stream and one position for
//! each, so that every node gives and shows the same offsets.
//!
//! A script gives a publication its offset, keeps it and says it on the channel's topic, all or
//! nothing. What stands there can be lost: whoever finds another epoch than the one known begins
//! again. Nothing here retries. A question that was not answered may have been done all the same.
//!
//! While a server does not answer, most questions are refused without asking: one that waited in
//! vain speaks for those that come right after it to the same server.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chassis::redis::commands::{FromRedisValue, ScriptInvocation};
use chassis::redis::{Fault, Script};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{Nodes, tag};
use crate::channel::{Options, Page, Since, epoch};
use crate::fanout::bus::{Message, decode, encode};
use crate::protocol::{Position, Publication};

/// How long one question without an answer speaks for others.
const REFUSED_FOR: Duration = Duration::from_millis(250);

/// Questions at the same time: they travel together, and at 55 microseconds of Redis' time each the
/// last of them is answered after 14 ms. Longer bursts wait here, in their order, where their time
/// does not count as that of a Redis which does not answer.
const ASKED_AT_ONCE: usize = 256;

/// How long a question waits for its turn: with the answer it stays within what a command has.
const TURN_TIMEOUT: Duration = Duration::from_secs(2);

/// When it makes sense to ask again: a Redis that was started again answers within a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

static APPEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("log/life.lua"), include_str!("log/append.lua")))
});
static STAND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("log/life.lua"), include_str!("log/stand.lua")))
});
static PAGE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(concat!(include_str!("log/life.lua"), include_str!("log/page.lua")))
});

/// The histories that the nodes share.
#[derive(Debug)]
pub struct Log {
    nodes: Arc<Nodes>,
    turns: Semaphore,
    /// What was the matter with a server, and until when that speaks for others; held for a look.
    refused: Mutex<HashMap<usize, (Unavailable, Instant)>>,
}

/// A channel, and what the caller knows of where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Its name.
    pub channel: &'a str,
    /// How much is kept of it, and how long.
    pub options: &'a Options,
    /// Where it stood when this node looked last: when Redis has lost that, a new life begins.
    pub known: Option<&'a Position>,
}

/// How much of a history is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Extract {
    /// From where, and which way.
    pub since: Since,
    /// Publications at most.
    pub limit: usize,
    /// Bytes after which it ends; one publication is always there.
    pub bytes_max: usize,
    /// Whether those that are no longer shown to anybody are wanted too.
    pub age: Age,
}

/// Which publications of a history are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Age {
    /// Those not older than the channel shows.
    Shown,
    /// All that are still there.
    Any,
}

/// Redis does not do what it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the nodes share cannot be reached: {reason}")]
pub struct Unavailable {
    /// A stable word for programs.
    pub reason: &'static str,
    /// When to try again.
    pub retry_after: Duration,
}

impl Log {
    /// The histories of the deployment of `nodes`.
    #[must_use]
    pub fn new(nodes: &Arc<Nodes>) -> Arc<Self> {
        let nodes = nodes.clone();
        Arc::new(Self { nodes, turns: Semaphore::new(ASKED_AT_ONCE), refused: Mutex::default() })
    }

    /// Gives a publication its place and tells the other nodes.
    ///
    /// # Errors
    /// Redis does not do it, or did it and does not say so in time.
    pub async fn append(
        &self,
        place: Place<'_>,
        publication: &Publication,
    ) -> Result<Position, Unavailable> {
        let Place { channel, options, known } = place;
        let ttl = options.history_ttl;
        let (server, mut call) = self.call(&APPEND, channel);
        call.key(tag::topic(self.nodes.prefix(), channel));
        call.arg(&*epoch::begin());
        call.arg(&*envelope(self.nodes.id(), publication));
        call.arg(options.history_size);
        call.arg(millis(ttl)).arg(millis(ttl + self.nodes.kept()));
        call.arg(known.map_or("", |known| &*known.epoch));
        call.arg(known.map_or(0, |known| known.offset));
        call.arg(self.nodes.redis().publish());
        self.ask(server, &call).await.map(position)
    }

    /// Where a channel stands; it has an epoch from then on.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn stand(&self, place: Place<'_>) -> Result<Position, Unavailable> {
        let Place { channel, options, known } = place;
        let (server, mut call) = self.call(&STAND, channel);
        call.arg(&*epoch::begin());
        call.arg(millis(options.history_ttl + self.nodes.kept()));
        call.arg(known.map_or("", |known| &*known.epoch));
        call.arg(known.map_or(0, |known| known.offset));
        self.ask(server, &call).await.map(position)
    }

    /// A part of a history; without an epoch when nothing was ever published.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn page(&self, place: Place<'_>, extract: Extract) -> Result<Page, Unavailable> {
        let Extract { since, limit, bytes_max, age } = extract;
        let (way, edge) = match since {
            Since::Oldest => ("forward", "0".to_owned()),
            Since::After(offset) => ("forward", offset.to_string()),
            Since::Newest => ("backward", "+".to_owned()),
            Since::Before(offset) => ("backward", offset.to_string()),
        };
        let shown = match age {
            Age::Shown => millis(place.options.history_ttl),
            Age::Any => u64::MAX,
        };
        let (server, mut call) = self.call(&PAGE, place.channel);
        call.arg(way).arg(edge).arg(limit).arg(bytes_max).arg(shown);
        type Kept = (Option<String>, u64, Vec<(u64, Vec<u8>)>);
        let (epoch, offset, kept): Kept = self.ask(server, &call).await?;
        let publications = kept.into_iter().filter_map(|(offset, bytes)| {
            let (_node, message) = decode(bytes.into()).ok()?;
            match message {
                Some(Message::Publication { publication, .. }) => {
                    Some(Publication { offset, ..publication })
                }
                // Nobody of ours keeps anything else here.
                _ => None,
            }
        });
        let top = Position { epoch: epoch.unwrap_or_default().into(), offset };
        Ok(Page { publications: publications.collect(), top })
    }

    /// A script with the keys of a channel, and the server that is known to have them.
    fn call<'a>(&self, script: &'a Script, channel: &str) -> (Option<usize>, ScriptInvocation<'a>) {
        let (prefix, tag) = (self.nodes.prefix(), tag::of_channel(channel));
        let (log, meta) = (format!("{prefix}:{{{tag}}}:log"), format!("{prefix}:{{{tag}}}:meta"));
        let server = self.nodes.redis().masters().borrow().place_of(log.as_bytes());
        let mut call = script.prepare_invoke();
        call.key(log).key(meta);
        (server, call)
    }

    async fn ask<T: FromRedisValue>(
        &self,
        server: Option<usize>,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, Unavailable> {
        let turn = timeout(TURN_TIMEOUT, self.turns.acquire()).await;
        let _turn = turn.map_err(|_elapsed| unavailable("bus_busy"))?;
        self.refused(server)?;
        // Pages and what is written between them, in one order.
        self.nodes.redis().fetch(call).await.map_err(|error| {
            let fault = error.fault();
            let unavailable = unavailable(reason(fault));
            tracing::debug!(%error, "what the nodes share cannot be reached");
            if let Some(server) = server.filter(|_| is_away(fault)) {
                let until = Instant::now() + REFUSED_FOR;
                self.refused.lock().insert(server, (unavailable, until));
            }
            unavailable
        })
    }

    /// An error while the answer that a server did not give speaks for others.
    fn refused(&self, server: Option<usize>) -> Result<(), Unavailable> {
        let Some(server) = server else { return Ok(()) };
        let mut refused = self.refused.lock();
        match refused.get(&server) {
            Some((unavailable, until)) if Instant::now() < *until => Err(*unavailable),
            Some(_) => {
                refused.remove(&server);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

const fn unavailable(reason: &'static str) -> Unavailable {
    Unavailable { reason, retry_after: RETRY_AFTER }
}

/// Whether the next question would find the same.
fn is_away(fault: Fault) -> bool {
    use Fault::{ClusterDown, Loading, NoMaster, Timeout, Unreachable};
    matches!(fault, Timeout | Unreachable | Loading | ClusterDown | NoMaster)
}

fn reason(fault: Fault) -> &'static str {
    match fault {
        Fault::Timeout => "bus_timeout",
        Fault::Unreachable | Fault::Loading | Fault::ClusterDown | Fault::NoMaster => "bus_down",
        Fault::OutOfMemory => "bus_full",
        Fault::ReadOnly => "bus_read_only",
        Fault::Busy => "bus_busy",
        _ => "bus_refused",
    }
}

fn position((epoch, offset): (String, u64)) -> Position {
    Position { epoch: epoch.into(), offset }
}

/// Encoded once: the same bytes are kept and said; where it stands is put before them.
fn envelope(node: Uuid, publication: &Publication) -> bytes::Bytes {
    let publication = Publication { offset: 0, ..publication.clone() };
    encode(node, &Message::Publication { epoch: "".into(), publication })
}

fn millis(duration: Duration) -> u64 {
    // Redis takes no time beyond the year 292 million.
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).min(1 << 53)
}
