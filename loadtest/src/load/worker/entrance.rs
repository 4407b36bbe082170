//! Who comes in when, and who takes too long.
//!
//! Pure. At the start everyone waits at the door and so many are let in at once; after a storm each
//! has a time to return at, whatever the others do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::load::clock::nanos;
use crate::load::plan::Entry;

/// The door.
#[derive(Debug)]
pub(super) struct Entrance {
    at_once: usize,
    patience: u64,
    /// Who is still outside, with the time from which they may come; the earliest first.
    outside: BinaryHeap<Reverse<Visit>>,
    /// Who is on the way, in order of their begin; some have arrived meanwhile.
    under_way: VecDeque<Visit>,
}

/// Somebody comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Visit {
    /// When it begins, or should.
    pub(super) at: u64,
    /// Which client.
    pub(super) client: u32,
}

impl Entrance {
    /// Everyone is outside.
    pub(super) fn new(entry: &Entry, clients: u32) -> Self {
        let outside = (0..clients).map(|client| Reverse(Visit { client, at: 0 })).collect();
        let patience = nanos(entry.patience);
        Self { at_once: entry.at_once, patience, outside, under_way: VecDeque::new() }
    }

    /// These come back, evenly within `spread` from `at` on.
    pub(super) fn storm(&mut self, clients: &[u32], at: u64, spread: u64) {
        self.at_once = usize::MAX;
        let count = (clients.len() as u64).max(1);
        let visit = |(number, client): (u64, &u32)| {
            let later = u128::from(spread) * u128::from(number) / u128::from(count);
            let at = at.saturating_add(u64::try_from(later).unwrap_or(spread));
            Reverse(Visit { client: *client, at })
        };
        self.outside.extend((0_u64..).zip(clients).map(visit));
    }

    /// This one comes back at its time, whatever the others do.
    pub(super) fn again(&mut self, client: u32, at: u64) {
        self.at_once = usize::MAX;
        self.outside.push(Reverse(Visit { client, at }));
    }

    /// Who begins now, when so many are on the way.
    pub(super) fn next(&mut self, now: u64, entering: usize) -> Option<Visit> {
        let Reverse(visit) = *self.outside.peek()?;
        if visit.at > now || entering >= self.at_once {
            return None;
        }
        self.outside.pop();
        // Who has a time is measured from that, and not from when somebody found the time for it.
        let at = if visit.at == 0 { now } else { visit.at };
        let visit = Visit { at, ..visit };
        self.under_way.push_back(visit);
        Some(visit)
    }

    /// Somebody whose time is over, if `is_entering` says that they are still on the way.
    pub(super) fn late(&mut self, now: u64, is_entering: impl Fn(Visit) -> bool) -> Option<Visit> {
        while let Some(visit) = self.under_way.front().copied() {
            let waits = is_entering(visit);
            if waits && visit.at + self.patience > now {
                return None;
            }
            self.under_way.pop_front();
            if waits {
                return Some(visit);
            }
        }
        None
    }

    /// When to look again.
    pub(super) fn wake_at(&self) -> Option<u64> {
        // Who has no time of their own comes when somebody else has arrived.
        let outside = self.outside.peek().map(|visit| visit.0.at).filter(|at| *at > 0);
        let late = self.under_way.front().map(|visit| visit.at + self.patience);
        outside.into_iter().chain(late).min()
    }

    /// Whether somebody is outside.
    pub(super) fn is_busy(&self) -> bool {
        !self.outside.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn entrance(clients: u32, at_once: usize) -> Entrance {
        let entry = Entry { at_once, patience: Duration::from_nanos(100), ..Entry::default() };
        Entrance::new(&entry, clients)
    }

    #[test]
    fn so_many_come_at_once_and_the_next_when_one_has_arrived() {
        let mut entrance = entrance(3, 2);
        assert_eq!(entrance.next(5, 0), Some(Visit { client: 0, at: 5 }));
        assert_eq!(entrance.next(6, 1), Some(Visit { client: 1, at: 6 }));
        assert_eq!(entrance.next(7, 2), None);
        assert!(entrance.is_busy());
        assert_eq!(entrance.next(8, 1), Some(Visit { client: 2, at: 8 }));
        assert!(!entrance.is_busy());
    }

    #[test]
    fn who_takes_too_long_is_found_and_who_arrived_is_not() {
        let mut entrance = entrance(3, 3);
        for now in [5, 6, 7] {
            entrance.next(now, 0);
        }
        let waits = |visit: Visit| visit.client != 1;
        assert_eq!(entrance.late(104, waits), None);
        assert_eq!(entrance.wake_at(), Some(105));
        assert_eq!(entrance.late(107, waits), Some(Visit { client: 0, at: 5 }));
        assert_eq!(entrance.late(107, waits), Some(Visit { client: 2, at: 7 }));
        assert_eq!((entrance.late(107, waits), entrance.wake_at()), (None, None));
    }

    #[test]
    fn after_a_storm_everyone_returns_in_their_own_time_and_is_measured_from_it() {
        let mut entrance = entrance(0, 1);
        entrance.storm(&[7, 8], 1_000, 500);
        assert_eq!((entrance.next(999, 0), entrance.wake_at()), (None, Some(1_000)));
        assert_eq!(entrance.next(1_400, 50), Some(Visit { client: 7, at: 1_000 }));
        assert_eq!(entrance.next(1_249, 50), None);
        assert_eq!(entrance.next(1_300, 51), Some(Visit { client: 8, at: 1_250 }));
    }

    #[test]
    fn who_comes_again_comes_in_the_order_of_the_times_whoever_asked_first() {
        let mut entrance = entrance(0, 1);
        entrance.again(3, 2_000);
        entrance.again(4, 1_000);
        assert_eq!(entrance.wake_at(), Some(1_000));
        assert_eq!(entrance.next(1_500, 9), Some(Visit { client: 4, at: 1_000 }));
        assert_eq!(entrance.next(1_500, 9), None);
        assert!(entrance.is_busy());
        assert_eq!(entrance.next(2_500, 9), Some(Visit { client: 3, at: 2_000 }));
    }
}
