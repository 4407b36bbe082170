//! A feed that begins where its reader says it stands, until the store was asked.
//!
//! A feed has one reader, so asking where it stands would be one question for each who connects.
//! Whoever was connected before knows: nothing is lost by believing them, for what they did not see
//! is found as soon as the store is asked, and what they made up is missed by themselves alone.

use std::sync::atomic::Ordering;

use super::Channel;
use crate::protocol::Position;
use crate::store::Head;

/// Larger ones are no offsets: JSON numbers stay below.
const WORD_MAX: u64 = 1 << 53;

/// So much may be missing to what was said. Who missed more is told to come in again and is then
/// sent the log page by page, as fast as they read.
const MISSING_MAX: u64 = 256;

/// What the store says of a reader's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is true.
    Right,
    /// It is true, and there is more, up to this offset.
    More(u64),
    /// The log does not stand there, or some of what follows is no longer there, or too much.
    Wrong,
}

impl Channel {
    /// The log stands where a reader says; true when nobody knew better.
    pub fn base_on_word(&self, position: &Position) -> bool {
        let mut state = self.state.lock();
        if position.offset > WORD_MAX || !state.order.base(&position.epoch, position.offset) {
            return false;
        }
        state.word = Some(position.offset);
        state.history.begin_at(position);
        self.published.store(position.offset, Ordering::Release);
        self.send_waiting(&mut state);
        true
    }

    /// True while nothing but a reader's word says where the log stands.
    #[must_use]
    pub fn is_on_word(&self) -> bool {
        self.state.lock().word.is_some()
    }

    /// Where the store says the log stands.
    pub fn verify(&self, head: &Head) -> Verdict {
        let mut state = self.state.lock();
        let top = state.history.top().offset;
        let Some(word) = state.word else { return Verdict::Right };
        let missing = head.offset.saturating_sub(top);
        if word > head.offset || word < head.trimmed || missing > MISSING_MAX {
            return Verdict::Wrong;
        }
        state.word = None;
        self.revision.store(head.revision, Ordering::Relaxed);
        if missing > 0 { Verdict::More(head.offset) } else { Verdict::Right }
    }
}
