//! One connection, seen from its session: what it sends is read here, what it gets is queued.
//!
//! [`Member`] is the session's half. Dropping it is leaving: the shard forgets the connection,
//! its topics and its backlog, and the socket closes. Only the session ends a connection; a shard
//! that gives up on one marks it and shuts the socket down, which the session reads as the end.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use super::inbox::{Inbox, Item, Settled};
use super::wire::Wire;
use super::{Topic, TopicId};

/// Marks a peer that its shard has not seen yet.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// What [`Peer::fate`] may be.
const OPEN: u8 = 0;
const LOST: u8 = 1;
const CUT: u8 = 2;

/// What session and shard share.
pub(super) struct Peer {
    pub(super) wire: Wire,
    /// Where the shard keeps it; written by the shard only.
    pub(super) slot: AtomicU32,
    /// Whether a gap marker may stand in for its backlog.
    pub(super) markers: AtomicBool,
    /// Set by the shard when nothing will be written any more.
    fate: AtomicU8,
    /// Bytes queued for this peer alone that no socket has taken yet.
    pub(super) queued: AtomicUsize,
    /// The session that waits for them to go.
    pub(super) session: AtomicWaker,
}

impl Peer {
    /// So many of the queued bytes are gone.
    pub(super) fn taken(&self, bytes: usize) {
        self.queued.fetch_sub(bytes, Ordering::Relaxed);
        self.session.wake();
    }

    /// The socket takes nothing any more.
    pub(super) fn lose(&self) {
        self.decide(LOST);
    }

    /// The peer does not read, and is given up.
    pub(super) fn cut(&self) {
        self.decide(CUT);
    }

    fn decide(&self, fate: u8) {
        // The first reason counts.
        if self.fate.compare_exchange(OPEN, fate, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.session.wake();
        }
    }
}

/// What one read brought.
#[derive(Debug)]
pub enum Received {
    /// Bytes came and were handed on.
    Bytes,
    /// The peer sends nothing more.
    End,
}

/// A connection in the hands of a shard; dropping it closes the connection.
pub struct Member {
    peer: Arc<Peer>,
    inbox: Arc<Inbox>,
    shard: usize,
}

impl Member {
    pub(super) fn join(wire: Wire, shard: usize, inbox: Arc<Inbox>) -> Self {
        let peer = Arc::new(Peer {
            wire,
            slot: AtomicU32::new(NO_SLOT),
            markers: AtomicBool::new(false),
            fate: AtomicU8::new(OPEN),
            queued: AtomicUsize::new(0),
            session: AtomicWaker::new(),
        });
        inbox.push(Item::Join(peer.clone()));
        Self { peer, inbox, shard }
    }

    /// The shard that writes to this connection.
    #[must_use]
    pub fn shard(&self) -> usize {
        self.shard
    }

    /// Queues whole frames for this connection alone.
    pub fn send(&self, bytes: Bytes) {
        self.peer.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.inbox.push(Item::Direct { peer: self.peer.clone(), bytes });
    }

    /// Holds back what is published on `topic` from now on, until [`Member::release`].
    pub fn attach(&self, topic: Arc<dyn Topic>) {
        self.inbox.push(Item::Attach { peer: self.peer.clone(), topic });
    }

    /// Receives what was held back and all that follows, except offsets up to `after`: those the
    /// peer knows from the reply that was queued before this call.
    pub fn release(&self, topic: &dyn Topic, after: u64) {
        // Asked before the push: what is published by now stands before the release.
        let settled = if topic.published() >= after { Settled::Yes } else { Settled::No };
        let (peer, topic) = (self.peer.clone(), topic.id());
        self.inbox.push(Item::Release { peer, topic, after, settled });
    }

    /// Receives what was published on `topic` so far and nothing more.
    pub fn detach(&self, topic: TopicId) {
        self.inbox.push(Item::Detach { peer: self.peer.clone(), topic });
    }

    /// Queues the last bytes; behind them the writing side is shut down.
    pub fn finish(&self, bytes: Bytes) {
        self.peer.queued.fetch_add(bytes.len(), Ordering::Relaxed);
        self.inbox.push(Item::Finish { peer: self.peer.clone(), bytes });
    }

    /// From now on a gap marker may stand in for this connection's backlog.
    pub fn grant_markers(&self) {
        self.peer.markers.store(true, Ordering::Relaxed);
    }

    /// True when the shard gave up on this connection because it did not read.
    #[must_use]
    pub fn was_cut(&self) -> bool {
        self.peer.fate.load(Ordering::Relaxed) == CUT
    }

    /// Bytes that were sent to this connection alone and that no socket has taken yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.peer.queued.load(Ordering::Relaxed)
    }

    /// Waits until at most `bytes` of what was sent to this connection alone are left, or until
    /// the shard gives up on it. A client that asks for more than it reads waits here.
    pub async fn drained(&self, bytes: usize) {
        poll_fn(|cx| {
            self.peer.session.register(cx.waker());
            let done = self.peer.queued.load(Ordering::Relaxed) <= bytes
                || self.peer.fate.load(Ordering::Relaxed) != OPEN;
            if done { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Reads once into a buffer shared by all connections of this thread and hands it to `each`,
    /// which may change it. A pipe brings nothing but its end, once its shard gave it up.
    ///
    /// # Errors
    /// What the socket or TLS says; the connection is over.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        each: &mut (dyn FnMut(&mut [u8]) + Send),
    ) -> Poll<io::Result<Received>> {
        if !self.peer.wire.is_read() {
            // No socket says that it is over, so its shard does.
            self.peer.session.register(cx.waker());
            let open = self.peer.fate.load(Ordering::Relaxed) == OPEN;
            return if open { Poll::Pending } else { Poll::Ready(Ok(Received::End)) };
        }
        self.peer.wire.poll_read(cx, each)
    }

    /// [`Member::poll_read`] as a future.
    ///
    /// # Errors
    /// What the socket or TLS says; the connection is over.
    pub async fn read(&self, each: &mut (dyn FnMut(&mut [u8]) + Send)) -> io::Result<Received> {
        poll_fn(|cx| self.poll_read(cx, each)).await
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.inbox.push(Item::Leave(self.peer.clone()));
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("shard", &self.shard).finish_non_exhaustive()
    }
}
