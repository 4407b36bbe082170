//! What a channel with a log did not keep, put back into its memory.

use tokio::time::Instant;

use super::Channel;
use crate::protocol::Publication;

/// What is not in memory, when that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The oldest that is kept, or the next to come.
    pub before: u64,
    /// How many are missing before it.
    pub missing: u64,
    /// How many can be kept before it.
    pub room: u64,
    /// How often what is kept was changed or forgotten.
    changed: u64,
}

impl Channel {
    /// What is missing in memory behind an offset that the channel has passed; `None` when nothing
    /// is, or it cannot be kept.
    #[must_use]
    pub fn gap(&self, after: u64) -> Option<Gap> {
        let mut state = self.state.lock();
        state.history.expire(&self.options, Instant::now());
        let (top, oldest) = (state.history.top().offset, state.history.kept_after());
        let room = (self.options.history_size as u64).saturating_sub(top - oldest);
        let missing = oldest.saturating_sub(after);
        let fits = after <= top && missing > 0 && missing <= room && self.kept.has_room();
        let changed = state.changed;
        fits.then_some(Gap { before: oldest + 1, missing, room, changed })
    }

    /// Keeps what was read from the store to fill a gap: from the one before it backward. When
    /// something that is kept was changed meanwhile, what was read may say what no longer stands.
    pub fn recall(&self, gap: Gap, publications: Vec<Publication>) {
        let mut state = self.state.lock();
        if state.changed == gap.changed {
            state.history.recall(publications, &self.options, Instant::now());
            self.kept.count(&mut state);
        }
    }
}
