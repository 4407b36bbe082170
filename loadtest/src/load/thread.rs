//! What one client has of its room's messages, which are numbered from 1.
//!
//! Sixteen bytes a client: the number that comes next, and for the 64 before it whether they came.
//! A number that is jumped over is missing until it comes after all, which makes it swapped; what
//! comes again is doubled.

/// What a client has.
#[derive(Debug, Clone, Copy)]
pub struct Thread {
    /// The number that comes next.
    next: u32,
    /// Bit `i` is set when `next - 1 - i` has come.
    came: u64,
}

/// What a message is to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The next one.
    InOrder,
    /// One behind others that have not come: so many.
    Ahead(u32),
    /// One that was missing.
    Late,
    /// One that came before.
    Again,
    /// One from so long ago that nobody knows.
    Ancient,
}

impl Default for Thread {
    fn default() -> Self {
        Self { next: 1, came: 0 }
    }
}

impl Thread {
    /// A message has come.
    pub fn hear(&mut self, number: u32) -> Turn {
        if number == 0 {
            return Turn::Ancient;
        }
        if let Some(missing) = number.checked_sub(self.next) {
            let steps = missing.saturating_add(1);
            self.next = self.next.saturating_add(steps);
            self.came = self.came.checked_shl(steps).unwrap_or(0) | 1;
            return if missing == 0 { Turn::InOrder } else { Turn::Ahead(missing) };
        }
        let bit = 1_u64.checked_shl(self.next - 1 - number).unwrap_or(0);
        let known = self.came & bit != 0;
        self.came |= bit;
        match bit {
            0 => Turn::Ancient,
            _ if known => Turn::Again,
            _ => Turn::Late,
        }
    }

    /// The last number that came in order or ahead; 0 before the first.
    #[must_use]
    pub const fn last(&self) -> u32 {
        self.next - 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::proptest;

    use super::*;

    fn turns(numbers: &[u32]) -> Vec<Turn> {
        let mut thread = Thread::default();
        numbers.iter().map(|number| thread.hear(*number)).collect()
    }

    #[test]
    fn a_lost_a_doubled_and_a_swapped_message_are_told_apart() {
        use Turn::{Again, Ahead, Ancient, InOrder, Late};
        assert_eq!(turns(&[1, 2, 3]), [InOrder; 3]);
        assert_eq!(turns(&[1, 3, 4]), [InOrder, Ahead(1), InOrder], "2 is lost");
        assert_eq!(turns(&[1, 2, 2, 1]), [InOrder, InOrder, Again, Again]);
        assert_eq!(turns(&[1, 3, 2, 4]), [InOrder, Ahead(1), Late, InOrder], "swapped");
        assert_eq!(turns(&[1, 3, 2, 2]), [InOrder, Ahead(1), Late, Again]);
        assert_eq!(turns(&[100, 1, 37, 36]), [Ahead(99), Ancient, Late, Ancient]);
        assert_eq!(turns(&[0]), [Ancient], "no message has the number 0");
        assert_eq!(turns(&[u32::MAX]), [Ahead(u32::MAX - 1)]);
    }

    proptest! {
        #[test]
        fn whatever_comes_news_plus_missing_is_what_was_reached(
            numbers in vec(1_u32..60, 0..200),
        ) {
            let mut thread = Thread::default();
            let (mut news, mut missing) = (0_u32, 0_u32);
            for number in &numbers {
                match thread.hear(*number) {
                    Turn::InOrder => news += 1,
                    Turn::Ahead(jumped) => (news, missing) = (news + 1, missing + jumped),
                    Turn::Late => (news, missing) = (news + 1, missing - 1),
                    Turn::Again => {}
                    Turn::Ancient => unreachable!("nothing here is that old"),
                }
            }
            let mut different = numbers.clone();
            different.sort_unstable();
            different.dedup();
            assert_eq!(news as usize, different.len());
            assert_eq!(news + missing, thread.last());
        }
    }
}
