//! What waits for all connections together, against its limit.
//!
//! Everything that is kept on behalf of a connection counts: what its socket has not taken, what
//! is held back while it enters a topic, and the part of a message that it has not sent to its end
//! yet. When it gets tight, what matters least is given up first, everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Class;

/// The bytes of all connections against their limit.
#[derive(Debug)]
pub(super) struct Budget {
    used: AtomicUsize,
    limit: usize,
}

/// Bytes that are kept for one connection outside of delivery; dropping it gives them back.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

/// All connections together have no more room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much waits for all connections together")]
pub struct Spent;

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { used: AtomicUsize::new(0), limit })
    }

    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn take(&self, bytes: usize) -> bool {
        self.take_up_to(bytes, self.limit)
    }

    /// Takes bytes for a frame of a class. Half of the budget is for what nobody can do without,
    /// and for presence a quarter more than for typing: when many connections are slow at once,
    /// the order in which frames are given up is the same as when one is.
    pub(super) fn take_for(&self, class: Class, bytes: usize) -> bool {
        let limit = match class {
            Class::Typing => self.limit / 4,
            Class::Presence => self.limit / 2,
            Class::Event => self.limit,
        };
        self.take_up_to(bytes, limit)
    }

    fn take_up_to(&self, bytes: usize, limit: usize) -> bool {
        let before = self.used.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= limit;
        if !fits {
            self.give_back(bytes);
        }
        fits
    }

    pub(super) fn is_spent(&self) -> bool {
        self.used() >= self.limit
    }

    /// Counts bytes that must be kept even over the limit.
    pub(super) fn force(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Charge {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, bytes: 0 }
    }

    /// So many bytes are kept now.
    ///
    /// # Errors
    /// [`Spent`] when it grew and there is no room for it; what was counted before stays.
    pub fn resize(&mut self, bytes: usize) -> Result<(), Spent> {
        match bytes.checked_sub(self.bytes) {
            Some(more) if !self.budget.take(more) => return Err(Spent),
            Some(_) => {}
            None => self.budget.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_follows_what_is_kept_and_gives_it_back() {
        let budget = Budget::new(100);
        let mut charge = Charge::new(budget.clone());
        assert_eq!((charge.resize(60), charge.resize(40), budget.used()), (Ok(()), Ok(()), 40));
        assert_eq!((charge.resize(101), budget.used()), (Err(Spent), 40));
        assert_eq!((charge.resize(100), budget.is_spent()), (Ok(()), true));
        drop(charge);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn when_it_gets_tight_typing_goes_first_and_events_last() {
        let budget = Budget::new(100);
        let fits = |class| {
            let fits = budget.take_for(class, 1);
            if fits {
                budget.give_back(1);
            }
            fits
        };
        for (used, wanted) in
            [(0, [true; 3]), (25, [false, true, true]), (50, [false, false, true])]
        {
            budget.force(used);
            assert_eq!([Class::Typing, Class::Presence, Class::Event].map(fits), wanted, "{used}");
            budget.give_back(used);
        }
        budget.force(100);
        assert!(!fits(Class::Event));
    }
}
