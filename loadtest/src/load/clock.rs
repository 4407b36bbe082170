//! One clock for every process of the machine.
//!
//! Nanoseconds of `CLOCK_MONOTONIC`, which starts with the machine and never jumps: the time in a
//! message means the same to the worker that sends it and to the one that receives it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;

/// Nanoseconds since the start of the machine.
#[must_use]
pub fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs());
    seconds * SECOND + nanos
}

/// A duration in nanoseconds; what does not fit into 584 years is that long.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_forward_and_agrees_with_the_clock_of_the_standard_library() {
        let (before, start) = (tokio::time::Instant::now(), now());
        while now() < start + 1_000_000 {}
        let (passed, took) = (now() - start, nanos(before.elapsed()));
        assert!(took.abs_diff(passed) < SECOND, "{took} {passed}");
    }
}
