//! The part of what was due that was done, over the last five minutes.
//!
//! Pure: it is given running totals and the time, and keeps one mark every five seconds to compare
//! them with, 61 at most. Nothing due is no failure: the rate is then 1.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// How far back the rate looks, as the guide's alert does.
const WINDOW: Duration = Duration::from_secs(300);

/// Between two marks; the window is at most this much longer than it should be.
const MARK_INTERVAL: Duration = Duration::from_secs(5);

/// Running totals since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Totals {
    /// What had to be done.
    pub(super) due: u64,
    /// What was.
    pub(super) done: u64,
}

/// Marks of the last five minutes, the oldest first.
#[derive(Debug, Default)]
pub(super) struct SuccessWindow {
    marks: VecDeque<(Instant, Totals)>,
}

impl SuccessWindow {
    /// Takes the totals as they stand and returns the rate over the window, 0 to 1.
    pub(super) fn observe(&mut self, now: Instant, totals: Totals) -> f64 {
        // The base is the youngest mark that lies at least a window back.
        while self.marks.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            self.marks.pop_front();
        }
        let (_, base) = *self.marks.front().unwrap_or(&(now, Totals::default()));
        if self.marks.back().is_none_or(|(at, _)| now.duration_since(*at) >= MARK_INTERVAL) {
            if self.marks.is_empty() {
                // The start itself: what came before the first observation belongs to the window.
                self.marks.push_back((now, Totals::default()));
            }
            self.marks.push_back((now, totals));
        }
        let due = totals.due.saturating_sub(base.due);
        let done = totals.done.saturating_sub(base.done);
        if due == 0 { 1.0 } else { (done as f64 / due as f64).min(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn nothing_due_is_no_failure() {
        let mut window = SuccessWindow::default();
        let start = Instant::now();
        for second in 0..1000 {
            assert_eq!(window.observe(at(start, second), Totals::default()), 1.0);
        }
    }

    #[test]
    fn a_failure_lowers_the_rate_and_is_forgotten_after_five_minutes() {
        let mut window = SuccessWindow::default();
        let start = Instant::now();
        assert_eq!(window.observe(start, Totals { due: 100, done: 90 }), 0.9);
        assert_eq!(window.observe(at(start, 5), Totals { due: 200, done: 190 }), 0.95);
        let mut totals = Totals { due: 200, done: 190 };
        let mut rates = Vec::new();
        for step in 2..70 {
            totals = Totals { due: totals.due + 100, done: totals.done + 100 };
            rates.push(window.observe(at(start, step * 5), totals));
        }
        assert!(rates.iter().take(55).all(|rate| *rate < 1.0), "{rates:?}");
        assert_eq!(rates.last(), Some(&1.0));
    }

    #[test]
    fn marks_are_bounded_however_often_it_is_asked() {
        let mut window = SuccessWindow::default();
        let start = Instant::now();
        for tenth in 0..10_000 {
            let now = start + Duration::from_millis(100 * tenth);
            window.observe(now, Totals { due: tenth, done: tenth });
        }
        assert!(window.marks.len() <= 62, "{}", window.marks.len());
    }

    #[test]
    fn more_done_than_due_is_not_more_than_all() {
        let mut window = SuccessWindow::default();
        assert_eq!(window.observe(Instant::now(), Totals { due: 10, done: 11 }), 1.0);
    }
}
