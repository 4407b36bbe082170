//! A channel with a log: offsets come from the store, and what comes is put in order here.
//!
//! The channel is in the registry before it asks where its log stands, so whatever is committed
//! afterwards reaches it; what comes before the answer waits. What is kept in memory is the end of
//! the log and may be forgotten at any time.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::super::order::{Arrival, Turn};
use super::{Channel, State};
use crate::protocol::Publication;
use crate::room::happening::Heard;
use crate::room::{LogId, RoomId};
use crate::store::{Amend, Head};

/// What delivering found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It went out, or was known, or waits for others that were missing before.
    Done,
    /// Something before it is missing since now.
    Gap,
}

impl Channel {
    /// Its log; `None` for a channel in memory.
    #[must_use]
    pub fn log(&self) -> Option<LogId> {
        self.log
    }

    /// The room it is the channel of.
    #[must_use]
    pub fn room(&self) -> Option<RoomId> {
        // Only rooms and feeds have logs, and a feed is nobody's room.
        let log = self.log.filter(|_| self.options.allow_publish)?;
        Some(RoomId::from_uuid(log.uuid()))
    }

    /// True once it is known where the log stands.
    #[must_use]
    pub fn is_based(&self) -> bool {
        self.log.is_none() || self.state.lock().order.is_based()
    }

    /// The log stands there; counts once.
    pub fn base(&self, head: &Head) {
        let mut state = self.state.lock();
        if state.order.base(head.offset) {
            state.history.begin_at(head.offset);
            self.revision.store(head.revision, Ordering::Relaxed);
            self.published.store(head.offset, Ordering::Release);
            self.send_waiting(&mut state);
        }
    }

    /// What is kept in the store is of this revision: when that is another, what is kept here may
    /// say what no longer stands.
    pub fn revise(&self, revision: u64) {
        if self.revision.swap(revision, Ordering::Relaxed) != revision {
            self.forget();
        }
    }

    /// One event of the log, in whatever order they come, and what it changed in earlier ones.
    pub fn deliver(
        &self,
        publication: Publication,
        amends: Vec<Amend>,
        accepted: Option<Instant>,
    ) -> Delivery {
        let mut state = self.state.lock();
        let stuck = state.order.waits_for().is_some();
        match state.order.arrive(Arrival { publication, amends }) {
            Turn::Now(arrival) => {
                self.pass(&mut state, arrival, accepted);
                self.send_waiting(&mut state);
            }
            Turn::Waits if !stuck && state.order.is_based() => return Delivery::Gap,
            Turn::Waits | Turn::Known => {}
        }
        Delivery::Done
    }

    /// The newest offset that has come, when it waits for others before it.
    #[must_use]
    pub fn waits_for(&self) -> Option<u64> {
        self.state.lock().order.waits_for()
    }

    /// Forgets what is kept: the store has it, perhaps in other words.
    pub fn forget(&self) {
        let mut state = self.state.lock();
        state.history.clear();
        self.kept.count(&mut state);
    }

    fn send_waiting(&self, state: &mut State) {
        while let Some(arrival) = state.order.next() {
            self.pass(state, arrival, None);
        }
    }

    fn pass(&self, state: &mut State, arrival: Arrival, accepted: Option<Instant>) {
        let Arrival { mut publication, amends } = arrival;
        if let Some(room) = self.room()
            && let Some(heard) = Heard::parse(&publication.data)
        {
            self.kept.changes.note(room, &heard);
        }
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
