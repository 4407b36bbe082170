//! What a shard writes to one connection alone: replies, pushes, the last bytes.
//!
//! Replies wait for the end of a drain, so that a client which asks for much at once gets its
//! answers in one write. They go before any frame of a topic that goes out behind them, and before
//! the connection's topics change: a client never sees a channel before the reply that lets it in.

use std::io;

use bytes::Bytes;

use super::fan_out::concatenate;
use super::shard::{ITEMS_KEPT, Shard};
use super::slot::State;

impl Shard {
    /// Writes the replies that wait, those of one connection together.
    pub(super) fn reply(&mut self) {
        if self.replies.is_empty() {
            return;
        }
        let mut replies = std::mem::take(&mut self.replies);
        // Stable: those of one connection stay in their order.
        replies.sort_by_key(|&(index, _)| index);
        for of_one in replies.chunk_by(|(one, _), (other, _)| one == other) {
            let (index, bytes) = match of_one {
                [(index, only)] => (*index, only.clone()),
                all => (all[0].0, concatenate(all.iter().map(|(_, bytes)| bytes))),
            };
            if self.takes_replies(index) {
                self.direct(index, bytes);
            } else {
                self.cut(index);
            }
        }
        if replies.capacity() <= ITEMS_KEPT {
            replies.clear();
            self.replies = replies;
        }
    }

    pub(super) fn direct(&mut self, index: u32, bytes: Bytes) {
        let Some(slot) = self.slots[index as usize].as_mut() else { return };
        if slot.state != State::Open {
            return slot.peer.lose();
        }
        let mut sent = 0;
        if slot.backlog.is_none() {
            match slot.peer.wire.try_write(&bytes) {
                Ok(count) if count == bytes.len() && slot.peer.wire.is_flushed() => {
                    return slot.peer.taken(bytes.len());
                }
                Ok(count) => {
                    sent = count;
                    slot.peer.taken(sent);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_gone) => {
                    slot.state = State::Dead;
                    return slot.peer.lose();
                }
            }
        }
        slot.block(&mut self.blocked, index).push_reply(bytes, sent, &self.budget);
    }

    /// False when a peer reads so little that it gets no more replies: its own room is used, or
    /// that of all together. What comes at once may overshoot: a history page is larger than a
    /// backlog.
    fn takes_replies(&self, index: u32) -> bool {
        let slot = self.slots[index as usize].as_ref();
        let backlog = slot.and_then(|slot| slot.backlog.as_ref());
        backlog.is_none_or(|backlog| {
            backlog.replies() <= self.config.backlog_bytes_max && !self.budget.is_spent()
        })
    }

    /// The last bytes of a connection; behind them its writing side ends.
    pub(super) fn finish(&mut self, index: u32, bytes: Bytes) {
        self.direct(index, bytes);
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        if slot.state == State::Open {
            slot.state = State::Ending;
            if slot.backlog.is_none() {
                slot.peer.wire.end();
            }
        }
    }
}
