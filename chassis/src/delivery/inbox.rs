//! The one queue of a shard.
//!
//! A mutex around a vector that the shard swaps for an empty one: a push is a few nanoseconds,
//! a drain takes everything at once. Frames are bounded by `frames_max`: publishers ask
//! [`Inbox::has_room`] first. Joins, leaves and attachments are always taken, for leaving
//! happens in `Drop`; they are bounded by connections and subscriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::peer::Peer;
use super::{Frame, Topic, TopicId};

/// What a shard is asked to do.
pub(super) enum Item {
    Join(Arc<Peer>),
    Leave(Arc<Peer>),
    Attach {
        peer: Arc<Peer>,
        topic: Arc<dyn Topic>,
    },
    /// Ends the hold of an attachment at the position its session has told the peer.
    Release {
        peer: Arc<Peer>,
        topic: TopicId,
        after: u64,
        settled: Settled,
    },
    Detach {
        peer: Arc<Peer>,
        topic: TopicId,
    },
    /// Bytes for one peer.
    Direct {
        peer: Arc<Peer>,
        bytes: Bytes,
    },
    /// The last bytes for one peer, then the end of the writing side.
    Finish {
        peer: Arc<Peer>,
        bytes: Bytes,
    },
    Publish {
        topic: TopicId,
        frame: Frame,
    },
}

/// Whether everything up to a position is in the inbox already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Yes,
    /// Frames at or below the position may still come and must be dropped.
    No,
}

pub(super) struct Inbox {
    queue: Mutex<Queue>,
    /// Frames in the queue and in the hands of the shard.
    frames: AtomicUsize,
    frames_max: usize,
    waker: AtomicWaker,
}

#[derive(Default)]
struct Queue {
    items: Vec<Item>,
    closed: bool,
}

impl Inbox {
    pub(super) fn new(frames_max: usize) -> Self {
        let (queue, frames) = (Mutex::default(), AtomicUsize::new(0));
        Self { queue, frames, frames_max, waker: AtomicWaker::new() }
    }

    pub(super) fn push(&self, item: Item) {
        let counts = item.is_frame();
        let first = {
            let mut queue = self.queue.lock();
            if queue.closed && counts {
                return;
            }
            if counts {
                // Under the lock: the shard cannot be done with what was not counted.
                self.frames.fetch_add(1, Ordering::Relaxed);
            }
            queue.items.push(item);
            queue.items.len() == 1
        };
        // Later pushes find the shard already woken, or on its way to the drain.
        if first {
            self.waker.wake();
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.frames.load(Ordering::Relaxed) < self.frames_max
    }

    pub(super) fn close(&self) {
        self.queue.lock().closed = true;
        self.waker.wake();
    }

    /// Appends everything to `into`; pending when there was nothing. `false` = closed and empty.
    pub(super) fn poll_drain(&self, cx: &mut Context<'_>, into: &mut Vec<Item>) -> Poll<bool> {
        if self.drain(into) {
            return Poll::Ready(true);
        }
        self.waker.register(cx.waker());
        if self.drain(into) {
            return Poll::Ready(true);
        }
        if self.queue.lock().closed { Poll::Ready(false) } else { Poll::Pending }
    }

    /// Appends everything to `into` and says whether there was anything.
    pub(super) fn drain(&self, into: &mut Vec<Item>) -> bool {
        let mut queue = self.queue.lock();
        if queue.items.is_empty() {
            return false;
        }
        if into.is_empty() {
            std::mem::swap(&mut queue.items, into);
        } else {
            into.append(&mut queue.items);
        }
        true
    }

    /// The shard is done with so many frames.
    pub(super) fn done(&self, frames: usize) {
        self.frames.fetch_sub(frames, Ordering::Relaxed);
    }
}

impl Item {
    pub(super) fn is_frame(&self) -> bool {
        matches!(self, Self::Publish { .. } | Self::Direct { .. })
    }
}
