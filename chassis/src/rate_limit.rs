//! Rates per key and per connection, in bounded memory.
//!
//! Responsible for: [`Keyed`], one limit for many callers (users, addresses, API keys), and
//! [`Bucket`], the limit a single owner carries along. Both are the generic cell rate algorithm:
//! a full quota may be spent at once, then it refills evenly, so over any time `t` at most
//! `quota + quota * t / period` pass. Not for: limits shared between nodes; connection caps.
//! Invariants: nothing here awaits or grows without bound; the clock is `tokio::time`, so tests
//! pause it.

mod bucket;
mod keyed;

use std::num::NonZeroU32;
use std::time::Duration;

pub use self::bucket::Bucket;
pub use self::keyed::{KEYS_MAX, Keyed};

/// So many per period; the whole of it may come as one burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    burst: NonZeroU32,
    /// Time in which one unit refills.
    interval: Duration,
}

/// Refused: too much, too fast. The same request passes after this time if nothing else is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("rate limit reached, retry after {} ms", .0.as_millis())]
pub struct RetryAfter(pub Duration);

impl Quota {
    /// `count` per second, all of them at once if they come at once.
    pub const fn per_second(count: NonZeroU32) -> Self {
        Self::per(count, Duration::from_secs(1))
    }

    /// `count` per minute, all of them at once if they come at once.
    pub const fn per_minute(count: NonZeroU32) -> Self {
        Self::per(count, Duration::from_secs(60))
    }

    /// The same rate with another burst.
    #[must_use]
    pub const fn with_burst(self, burst: NonZeroU32) -> Self {
        Self { burst, ..self }
    }

    /// The most that can be spent at once.
    pub const fn burst(self) -> NonZeroU32 {
        self.burst
    }

    /// The time in which one unit refills.
    pub const fn interval(self) -> Duration {
        self.interval
    }

    const fn per(count: NonZeroU32, period: Duration) -> Self {
        // Below one nanosecond nothing could be measured: 10^9 per second is the fastest rate.
        let interval = match period.checked_div(count.get()) {
            Some(interval) if !interval.is_zero() => interval,
            _ => Duration::from_nanos(1),
        };
        Self { burst: count, interval }
    }
}
