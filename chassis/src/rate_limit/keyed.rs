//! One rate limit for many callers, told apart by a key.
//!
//! Responsible for: [`governor`]'s limiter over a table that cannot outgrow its bound. Not for:
//! choosing keys; a key should be cheap to clone (a `UserId`, an address). Shared by all tasks;
//! an entry is one atomic in a sharded map. Invariant: at most [`KEYS_MAX`] entries. When the
//! table is full it is swept of keys whose quota has refilled, at most once per second; when it
//! is full of busy keys, callers not yet known share one quota: a flood of made-up keys costs
//! strangers their service, never the known ones and never the memory.

use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore};
use governor::state::{InMemoryState, NotKeyed, StateStore};
use tokio::time::Instant;

use super::{Quota, RetryAfter};

/// Most keys told apart. An entry is its key of at most 24 bytes, 8 of state and their share of
/// the table, under 64 together: 128 Ki of them are 8 MiB, and more than `MAX_CONNECTIONS`
/// (100,000), so that everyone connected has a bucket of their own.
pub const KEYS_MAX: usize = 128 * 1024;

/// Least time between two sweeps: one walks 128 Ki entries in about 2 ms, 0.2 % of a core.
const SWEEP_PERIOD: Duration = Duration::from_secs(1);

/// A limiter that gives every key the same quota.
pub struct Keyed<K: Hash + Eq + Clone> {
    limiter: RateLimiter<K, Table<K>, Ticks, NoOpMiddleware<Nanos>>,
    keys_max: usize,
    /// When the table may be swept again, in nanoseconds of the limiter's clock.
    next_sweep: AtomicU64,
}

/// Time since the limiter was made, by the clock that tests can pause.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    start: Instant,
}

/// A map that stops growing.
struct Table<K: Hash + Eq + Clone> {
    known: DashMapStateStore<K>,
    /// Never below the number of entries: racing inserts of one key may count it twice until the
    /// next sweep counts anew. The map's own `len` would lock every shard on every check.
    entries: AtomicUsize,
    keys_max: usize,
    strangers: InMemoryState,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    /// A limiter that lets each key spend `quota`.
    pub fn new(quota: Quota) -> Self {
        Self::bounded(quota, KEYS_MAX)
    }

    fn bounded(quota: Quota, keys_max: usize) -> Self {
        let table = Table {
            known: DashMapStateStore::default(),
            entries: AtomicUsize::new(0),
            keys_max,
            strangers: InMemoryState::default(),
        };
        let quota = governor::Quota::with_period(quota.interval)
            .expect("an interval is at least a nanosecond")
            .allow_burst(quota.burst);
        Self {
            limiter: RateLimiter::new(quota, table, Ticks { start: Instant::now() }),
            keys_max,
            next_sweep: AtomicU64::new(0),
        }
    }

    /// Spends one unit of the quota of `key`, or says how long until one has refilled. Never
    /// waits; a refusal spends nothing.
    pub fn check(&self, key: &K) -> Result<(), RetryAfter> {
        if self.limiter.len() >= self.keys_max {
            self.sweep();
        }
        self.limiter
            .check_key(key)
            .map_err(|refused| RetryAfter(refused.wait_time_from(self.limiter.clock().now())))
    }

    /// How many keys are told apart at the moment.
    pub fn len(&self) -> usize {
        self.limiter.len()
    }

    /// Reports whether no key has spent anything yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the keys whose quota has refilled, if the last sweep is long enough ago.
    fn sweep(&self) {
        let now = self.limiter.clock().now();
        let due = self.next_sweep.load(Ordering::Relaxed);
        let next = (now + Nanos::from(SWEEP_PERIOD)).as_u64();
        let mine = now.as_u64() >= due
            && self
                .next_sweep
                .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.limiter.retain_recent();
        }
    }
}

impl<K: Hash + Eq + Clone> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed").field("keys", &self.len()).finish_non_exhaustive()
    }
}

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(Instant::now().duration_since(self.start))
    }
}

impl<K: Hash + Eq + Clone> StateStore for Table<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(state) = self.known.get(key) {
            return state.measure_and_replace(&NotKeyed::NonKey, f);
        }
        let room = |entries| (entries < self.keys_max).then_some(entries + 1);
        if self.entries.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return self.strangers.measure_and_replace(&NotKeyed::NonKey, f);
        }
        let state = self.known.entry(key.clone()).or_default();
        state.measure_and_replace(&NotKeyed::NonKey, f)
    }
}

impl<K: Hash + Eq + Clone> ShrinkableKeyedStateStore<K> for Table<K> {
    fn retain_recent(&self, drop_below: Nanos) {
        self.known.retain_recent(drop_below);
        self.entries.store(self.known.len(), Ordering::Relaxed);
    }

    fn len(&self) -> usize {
        self.entries.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;
    use tokio::time::advance;

    use super::*;
    use crate::rate_limit::Bucket;

    const SECOND: Duration = Duration::from_secs(1);

    fn per_second(count: u32) -> Quota {
        Quota::per_second(NonZeroU32::new(count).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_has_its_own_quota() {
        let limiter = Keyed::new(per_second(2));
        for user in ["alice", "bob"] {
            assert_eq!(limiter.check(&user), Ok(()));
            assert_eq!(limiter.check(&user), Ok(()));
            assert_eq!(limiter.check(&user), Err(RetryAfter(SECOND / 2)));
        }
        advance(SECOND / 2).await;
        assert_eq!(limiter.check(&"alice"), Ok(()));
        assert!(limiter.check(&"alice").is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_minutes_quota_may_come_at_once() {
        let limiter = Keyed::new(Quota::per_minute(NonZeroU32::new(1000).unwrap()));
        assert_eq!((0..2000).filter(|_| limiter.check(&1).is_ok()).count(), 1000);
        advance(6 * SECOND).await;
        assert_eq!((0..2000).filter(|_| limiter.check(&1).is_ok()).count(), 100);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_lets_strangers_share_one_quota_and_keeps_the_known() {
        let limiter = Keyed::bounded(per_second(10), 4);
        assert!((0..4).all(|known| limiter.check(&known).is_ok()));
        let strangers = (100..200).filter(|key| limiter.check(key).is_ok()).count();
        assert_eq!(strangers, 10);
        assert_eq!(limiter.len(), 4);
        assert_eq!((0..100).filter(|_| limiter.check(&0).is_ok()).count(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_table_forgets_those_whose_quota_has_refilled() {
        let limiter = Keyed::bounded(per_second(10), 4);
        assert!((0..4).all(|key| limiter.check(&key).is_ok()));
        assert_eq!(limiter.check(&4), Ok(()));
        assert_eq!(limiter.len(), 4);
        advance(2 * SECOND).await;
        assert_eq!(limiter.check(&5), Ok(()));
        assert_eq!(limiter.len(), 1);
    }

    proptest! {
        /// Two implementations of one algorithm: governor's and the bucket's.
        #[test]
        fn agrees_with_a_bucket(
            count in 1_u32..20,
            steps in prop::collection::vec(0_u64..200, 1..60),
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap();
            let (passed, wanted) = runtime.block_on(async {
                let quota = per_second(count);
                let (limiter, mut bucket) = (Keyed::new(quota), Bucket::new());
                let (mut passed, mut wanted) = (Vec::new(), Vec::new());
                for step in steps {
                    advance(Duration::from_millis(step)).await;
                    passed.push(limiter.check(&()));
                    wanted.push(bucket.take(quota, Instant::now()));
                }
                (passed, wanted)
            });
            prop_assert_eq!(passed, wanted);
        }
    }
}
