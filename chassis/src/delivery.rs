//! The shards a service writes through: the only owners of the write halves.
//!
//! ```text
//! session --Direct--> +-------+             one task a shard:
//! hub ----Publish---> | inbox | -> drain -> concatenate per topic -> one write a socket
//! guard --Leave-----> +-------+             blocked sockets keep a bounded backlog
//! ```
//! A shard's inbox is one queue, so what is put in earlier happens earlier: a reply queued before
//! its connection is attached to a topic leaves before anything of that topic. The shard drains,
//! yields once (all runnable readers go first, and what they publish coalesces), drains again,
//! and writes. It never awaits a socket: one that answers `WouldBlock` keeps the remainder as its
//! backlog and is written again when it can take more. What happens when the backlog is full is
//! decided by the class of the frame: ephemeral frames are shed first, then a peer that was
//! granted markers gets a gap marker in place of its backlog, and any other is cut.
//! A connection is attached to a topic on hold: what is published meanwhile waits while the
//! session reads a position and tells it; the release drops what that position covers. What waits
//! there counts like a backlog, and gives way in the same order.
//! Topics and frames are opaque: the service decides what they mean.

mod backlog;
mod budget;
mod fan_out;
#[cfg(test)]
mod footprint;
mod hold;
mod inbox;
mod outlet;
mod peer;
mod replies;
mod shard;
mod slot;
mod wire;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use budget::Budget;
pub use budget::{Charge, Spent};
use inbox::Inbox;
pub use peer::{Member, Received};
pub use wire::Wire;

/// Frames that wait in one shard's inbox before publishers are told to wait: about 16 MiB of
/// ordinary messages, and 30 ms of work for a shard that writes four million frames a second.
const INBOX_FRAMES_MAX: usize = 64 * 1024;

/// What a topic is called in here; unique for the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u64);

/// What connections attach to: one channel in one wire format.
pub trait Topic: Send + Sync + 'static {
    /// Its name in here.
    fn id(&self) -> TopicId;

    /// The highest offset that was handed to [`Delivery::publish`] for this topic.
    fn published(&self) -> u64;

    /// The frame that tells a peer which frames it did not get, both offsets included; `0, 0`
    /// when they had none.
    fn gap(&self, from: u64, to: u64) -> Bytes;
}

/// How much a frame matters when its receiver is slow; the first to go comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Stale within seconds: shed once a quarter of the backlog is in use.
    Typing,
    /// Can be asked for again: shed once half of the backlog is in use.
    Presence,
    /// Part of a sequence: never dropped silently.
    Event,
}

/// One prepared frame (or several, whole ones), shared by every receiver.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The bytes as they go to the socket.
    pub bytes: Bytes,
    /// What may happen to it.
    pub class: Class,
    /// Its place in the topic's sequence; 0 = none.
    pub offset: u64,
    /// When the service accepted it; measured until it was handed to the last socket.
    pub accepted: Option<Instant>,
}

/// What was dropped for a slow receiver, or the receiver itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shed {
    /// A [`Class::Typing`] frame.
    Typing,
    /// A [`Class::Presence`] frame.
    Presence,
    /// A backlog, replaced by a gap marker.
    Lag,
    /// The connection.
    Closed,
}

/// One frame handed to the sockets of its topic.
#[derive(Debug, Clone, Copy)]
pub struct Delivered {
    /// Receivers it was due for.
    pub due: u64,
    /// Receivers whose socket took it at once; see [`Observer::caught_up`] for the others.
    pub handed: u64,
    /// From [`Frame::accepted`].
    pub accepted: Option<Instant>,
}

/// Where the shards report; called on the hot path, so it must not block.
pub trait Observer: Send + Sync + 'static {
    /// A frame went out.
    fn delivered(&self, delivered: Delivered);
    /// So many frames that had waited for slow receivers were taken by their sockets.
    fn caught_up(&self, frames: u64);
    /// Something was shed.
    fn shed(&self, shed: Shed);
    /// A shard has panicked: nothing reaches its connections any more.
    fn failed(&self);
}

/// Sizes of the delivery.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Shard tasks. On two cores one batches better than two.
    pub shards: usize,
    /// Bytes that wait for one connection.
    pub backlog_bytes_max: usize,
    /// Bytes that are kept for all connections together.
    pub budget_bytes: usize,
}

/// The handle of all shards; cheap to clone. The shard tasks end when the last handle and the
/// last member are gone.
#[derive(Clone)]
pub struct Delivery {
    shards: Arc<[Arc<Inbox>]>,
    next: Arc<AtomicUsize>,
    budget: Arc<Budget>,
}

impl Delivery {
    /// Starts the shard tasks on `tracker`.
    #[must_use]
    pub fn start(config: Config, observer: &Arc<dyn Observer>, tracker: &TaskTracker) -> Self {
        let budget = Budget::new(config.budget_bytes);
        let shards = (0..config.shards.max(1))
            .map(|index| {
                let inbox = Arc::new(Inbox::new(INBOX_FRAMES_MAX));
                let (observer, budget) = (observer.clone(), budget.clone());
                let shard = shard::Shard::new(inbox.clone(), observer.clone(), budget, config);
                let span = tracing::debug_span!("delivery", shard = index);
                let life = AssertUnwindSafe(shard.run()).catch_unwind().instrument(span);
                tracker.spawn(async move {
                    if life.await.is_err() {
                        observer.failed();
                    }
                });
                inbox
            })
            .collect();
        Self { shards, next: Arc::new(AtomicUsize::new(0)), budget }
    }

    /// How many shards there are; [`Member::shard`] is below it.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Hands a connection over; everything written to it from now on goes through its shard.
    #[must_use]
    pub fn join(&self, wire: Wire) -> Member {
        let shard = self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        Member::join(wire, shard, self.shards[shard].clone())
    }

    /// Puts `frame` before the members of `topic` on `shard`. Order is that of the calls, so one
    /// topic's frames are published from one place.
    pub fn publish(&self, shard: usize, topic: TopicId, frame: Frame) {
        self.shards[shard].push(inbox::Item::Publish { topic, frame });
    }

    /// False when a shard is so far behind that publishers must be turned away.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shards.iter().all(|inbox| inbox.has_room())
    }

    /// Bytes that are kept for connections: what waits for slow ones and for those on hold, and
    /// what was charged.
    #[must_use]
    pub fn backlog_bytes(&self) -> usize {
        self.budget.used()
    }

    /// A place to count what is kept for a connection elsewhere.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge::new(self.budget.clone())
    }

    /// Ends the shard tasks once their inboxes are empty; later frames are dropped.
    pub fn close(&self) {
        for inbox in self.shards.iter() {
            inbox.close();
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("shards", &self.shards.len())
            .field("backlog_bytes", &self.backlog_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
