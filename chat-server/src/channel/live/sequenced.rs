//! A channel whose offsets come from elsewhere: what comes is put in order here.
//!
//! The channel is in the registry before it asks where it stands, so whatever gets an offset
//! afterwards reaches it; what comes before the answer waits. What is kept in memory is the end of
//! the history and may be forgotten at any time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::super::order::{Arrival, Turn};
use super::{Channel, State};
use crate::protocol::Position;
use crate::room::{LogId, RoomId};
use crate::store::Amend;

/// Where the offsets of a channel come from, and where all of its history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This process: nobody else has anything of it.
    Memory,
    /// A log of the store.
    Log(LogId),
    /// Redis, for all nodes.
    Shared,
}

/// What delivering found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It went out, or was known, or waits for others that were missing before.
    Done,
    /// Something before it is missing since now.
    Gap,
    /// It is not of the life that this channel is of: one of the two is over.
    OtherLife,
}

impl Channel {
    /// Where its offsets come from.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Its log, when it has one in the store.
    #[must_use]
    pub fn log(&self) -> Option<LogId> {
        match self.source {
            Source::Log(log) => Some(log),
            Source::Memory | Source::Shared => None,
        }
    }

    /// The room it is the channel of.
    #[must_use]
    pub fn room(&self) -> Option<RoomId> {
        // Only rooms and feeds have logs, and a feed is nobody's room.
        let log = self.log().filter(|_| self.options.allow_publish)?;
        Some(RoomId::from_uuid(log.uuid()))
    }

    /// True once it is known where it stands.
    #[must_use]
    pub fn is_based(&self) -> bool {
        self.source == Source::Memory || self.state.lock().order.is_based()
    }

    /// It stands there; counts once. `revision` is that of a log.
    pub fn base(&self, position: &Position, revision: u64) -> Delivery {
        let mut state = self.state.lock();
        let epoch = self.epoch.get_or_init(|| position.epoch.clone());
        if *epoch != position.epoch {
            return Delivery::OtherLife;
        }
        if state.order.base(epoch, position.offset) {
            state.history.begin_at(position);
            self.revision.store(revision, Ordering::Relaxed);
            self.published.store(position.offset, Ordering::Release);
            self.send_waiting(&mut state);
        }
        match state.order.waits_for() {
            Some(_) => Delivery::Gap,
            None => Delivery::Done,
        }
    }

    /// Its life is over: who is in it is to come again.
    pub(in super::super) fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    /// True when its life is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What is kept in the store is of this revision: when that is another, what is kept here may
    /// say what no longer stands.
    pub fn revise(&self, revision: u64) {
        if self.revision.swap(revision, Ordering::Relaxed) != revision {
            self.forget();
            self.unseat(&mut self.state.lock());
        }
    }

    /// One publication, in whatever order they come, and what it changed in earlier ones.
    pub fn deliver(&self, arrival: Arrival, accepted: Option<Instant>) -> Delivery {
        let mut state = self.state.lock();
        let is_of = |epoch: &Arc<str>| *epoch == arrival.epoch;
        if !self.epoch.get().is_none_or(is_of) {
            return Delivery::OtherLife;
        }
        let stuck = state.order.waits_for().is_some();
        let changes_people = self.heard(&arrival.publication).is_some();
        match state.order.arrive(arrival) {
            Turn::Now(arrival) => {
                self.pass(&mut state, arrival, accepted);
                self.send_waiting(&mut state);
            }
            Turn::Waits => {
                if changes_people {
                    // Until its turn comes, what is known is not what is.
                    self.unseat(&mut state);
                }
                if !stuck && state.order.is_based() {
                    return Delivery::Gap;
                }
            }
            Turn::Known(Arrival { publication, .. })
                if self.source == Source::Shared && state.history.contradicts(&publication) =>
            {
                self.doubted.store(true, Ordering::Release);
                return Delivery::OtherLife;
            }
            Turn::Known(_) => {}
        }
        Delivery::Done
    }

    /// The newest position, for whoever gave it to be held against what it says now. When an
    /// offset was given twice it is beyond all that were given: a Redis that came back without what
    /// it had last looks as if it had never been away.
    #[must_use]
    pub fn claim(&self) -> Position {
        match self.doubted.load(Ordering::Acquire) {
            true => Position { epoch: self.epoch(), offset: 1 << 53 },
            false => self.top(),
        }
    }

    /// The newest offset that has come, when it waits for others before it.
    #[must_use]
    pub fn waits_for(&self) -> Option<u64> {
        self.state.lock().order.waits_for()
    }

    /// Forgets what is kept: its source has it, perhaps in other words.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.changed += 1;
        state.history.clear();
        self.kept.count(&mut state);
    }

    pub(super) fn send_waiting(&self, state: &mut State) {
        while let Some(arrival) = state.order.next() {
            self.pass(state, arrival, None);
        }
    }

    fn pass(&self, state: &mut State, arrival: Arrival, accepted: Option<Instant>) {
        let Arrival { mut publication, amends, .. } = arrival;
        if let Some((room, heard)) = self.heard(&publication) {
            state.seats.hear(publication.offset, &heard);
            self.kept.changes.note(room, &heard);
        }
        state.changed += u64::from(!amends.is_empty());
        for Amend { offset, data } in &amends {
            state.history.amend(*offset, data);
        }
        state.history.append(&mut publication, &self.options, Instant::now());
        self.kept.count(state);
        if !self.kept.has_room() {
            state.history.clear();
            self.kept.count(state);
        }
        self.send(state, &publication, accepted);
    }
}
