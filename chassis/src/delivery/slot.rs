//! One connection as its shard keeps it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::backlog::Backlog;
use super::budget::Budget;
use super::outlet::Outlets;
use super::peer::Peer;
use super::{Observer, TopicId};

/// The place of a member that is not among the ordinary ones of its topic.
pub(super) const ON_HOLD: u32 = u32::MAX;

pub(super) struct Slot {
    pub(super) peer: Arc<Peer>,
    /// Where it stands among the members of each of its topics.
    pub(super) places: Vec<Place>,
    pub(super) backlog: Option<Box<Backlog>>,
    pub(super) state: State,
}

pub(super) struct Place {
    pub(super) topic: TopicId,
    pub(super) index: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Open,
    /// The last bytes are queued.
    Ending,
    /// Nothing is written any more; its session will leave.
    Dead,
}

impl Slot {
    /// The backlog, and its entry in the blocked list.
    pub(super) fn block(&mut self, blocked: &mut Vec<u32>, index: u32) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| {
            blocked.push(index);
            Box::default()
        })
    }

    /// Sends the backlog, then the markers of what was dropped from it.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut Vec<u8>,
        topics: &Outlets,
        budget: &Budget,
        observer: &dyn Observer,
    ) -> Poll<io::Result<()>> {
        let Some(backlog) = &mut self.backlog else {
            return Poll::Ready(Ok(()));
        };
        loop {
            if backlog.is_empty() {
                let gaps = backlog.take_gaps();
                if gaps.is_empty() {
                    return self.peer.wire.poll_flush(cx);
                }
                for gap in gaps {
                    if let Some(outlet) = topics.get(&gap.topic) {
                        backlog.push_marker(outlet.topic.gap(gap.from, gap.to), budget);
                    }
                }
                continue;
            }
            match self.peer.wire.poll_write(cx, backlog.next(scratch)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(count)) => {
                    let sent = backlog.advance(count, budget);
                    if sent.replies > 0 {
                        self.peer.taken(sent.replies);
                    }
                    if sent.frames > 0 {
                        observer.caught_up(sent.frames);
                    }
                }
            }
        }
    }
}
