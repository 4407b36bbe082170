//! The order of what gets its offsets elsewhere on its way to its channel, whatever order it comes
//! in.
//!
//! Pure. The next offset passes; a later one waits for those before it; an earlier one was seen.
//! Until it is known where the channel stands, everything waits. What waits is bounded: beyond that
//! it is dropped, for it can be read where it got its offset.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::protocol::Publication;
use crate::store::Amend;

/// Events that wait for one that is missing: at 300 bytes each about 300 KiB, and more than a
/// node commits while another one's message is on its way.
const WAITING_MAX: usize = 1024;

/// A publication on its way.
#[derive(Debug, Clone, PartialEq)]
pub struct Arrival {
    /// The life of its offset.
    pub epoch: Arc<str>,
    /// What it is, with its offset.
    pub publication: Publication,
    /// What it changes in earlier ones.
    pub amends: Vec<Amend>,
}

/// What becomes of an arrival.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// It is the next one.
    Now(Arrival),
    /// It waits.
    Waits,
    /// One of that offset was here before.
    Known(Arrival),
}

/// The place of a channel among what comes.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The last offset that passed; `None` until it is known where the channel stands.
    last: Option<u64>,
    waiting: BTreeMap<u64, Arrival>,
}

impl Order {
    /// True once it is known where the channel stands.
    pub(super) fn is_based(&self) -> bool {
        self.last.is_some()
    }

    /// The channel stands at `head` of the life `epoch`: what waits and is not newer, or of another
    /// life, is dropped. Only the first word counts; later ones come as arrivals.
    pub(super) fn base(&mut self, epoch: &str, head: u64) -> bool {
        if self.is_based() {
            return false;
        }
        self.last = Some(head);
        self.waiting.retain(|&offset, arrival| offset > head && *arrival.epoch == *epoch);
        true
    }

    /// One more arrival.
    pub(super) fn arrive(&mut self, arrival: Arrival) -> Turn {
        let offset = arrival.publication.offset;
        match self.last {
            Some(last) if offset <= last => Turn::Known(arrival),
            Some(last) if offset == last + 1 => {
                self.last = Some(offset);
                Turn::Now(arrival)
            }
            _ => {
                if self.waiting.len() < WAITING_MAX {
                    self.waiting.insert(offset, arrival);
                }
                Turn::Waits
            }
        }
    }

    /// The next one of those that waited, when nothing is missing before it.
    pub(super) fn next(&mut self) -> Option<Arrival> {
        let next = self.last? + 1;
        let arrival = self.waiting.remove(&next)?;
        self.last = Some(next);
        Some(arrival)
    }

    /// The newest offset that has come, when it waits for others before it.
    pub(super) fn waits_for(&self) -> Option<u64> {
        self.last.and_then(|_| self.waiting.keys().next_back().copied())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Json;

    fn arrival(offset: u64) -> Arrival {
        let publication = Publication { offset, ..Publication::new(Json::parse(b"1").unwrap()) };
        Arrival { epoch: "life".into(), publication, amends: Vec::new() }
    }

    /// The offsets that pass when these arrive.
    fn pass(order: &mut Order, offset: u64) -> Vec<u64> {
        let mut passed = Vec::new();
        if let Turn::Now(arrival) = order.arrive(arrival(offset)) {
            passed.push(arrival.publication.offset);
            while let Some(arrival) = order.next() {
                passed.push(arrival.publication.offset);
            }
        }
        passed
    }

    #[test]
    fn what_comes_early_waits_for_what_is_missing() {
        let mut order = Order::default();
        assert!(order.base("life", 4));
        assert_eq!(pass(&mut order, 6), [0; 0]);
        assert_eq!(order.waits_for(), Some(6));
        assert_eq!(pass(&mut order, 5), [5, 6]);
        assert_eq!(order.waits_for(), None);
        assert_eq!(order.arrive(arrival(5)), Turn::Known(arrival(5)));
    }

    #[test]
    fn nothing_passes_before_it_is_known_where_the_channel_stands() {
        let mut order = Order::default();
        for offset in [3, 5, 4] {
            assert_eq!(order.arrive(arrival(offset)), Turn::Waits);
        }
        assert!(order.base("life", 3) && !order.base("life", 9));
        let waited: Vec<_> = std::iter::from_fn(|| order.next()).collect();
        assert_eq!(waited, [arrival(4), arrival(5)]);
    }

    #[test]
    fn what_came_early_from_another_life_never_passes() {
        let mut order = Order::default();
        order.arrive(arrival(4));
        order.arrive(Arrival { epoch: "before".into(), ..arrival(5) });
        order.base("life", 3);
        assert_eq!(order.next(), Some(arrival(4)));
        assert_eq!((order.next(), order.waits_for()), (None, None));
    }

    proptest! {
        #[test]
        fn any_order_with_repeats_passes_as_one_sequence(
            base in 0..50u64,
            noise in prop::collection::vec(1..200u64, 0..400),
        ) {
            let mut order = Order::default();
            order.base("life", base);
            let mut passed = Vec::new();
            for offset in noise.into_iter().chain(1..=200) {
                passed.extend(pass(&mut order, offset));
            }
            prop_assert_eq!(passed, (base + 1..=200).collect::<Vec<_>>());
        }
    }
}
