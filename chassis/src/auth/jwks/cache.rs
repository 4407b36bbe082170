//! When to fetch a key set and what to answer meanwhile: decisions without clock or network.
//!
//! Responsible for: the age of the keys at hand, single flight, back-off, how long stale keys
//! may serve. Not for: fetching. Pure: time is an argument. Invariants: `decide` starts a fetch
//! only when none runs and `retry_after` has passed since the last start; a token whose key is at
//! hand and fresh is answered without waiting; keys older than `stale_max` are never used.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::source::Fetched;
use crate::auth::key::{Found, KeyRing};
use crate::auth::token::{Compact, TokenError};
use crate::stamp::Stamp;

/// The bounds in time of one kind of source.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timing {
    /// Keys older than this are fetched again, in the background, when next used.
    pub(super) refresh_after: Duration,
    /// Keys older than this were idle: whoever uses them next waits for the fetch, so that a key
    /// withdrawn long ago is not accepted one last time.
    pub(super) wait_after: Duration,
    /// Least time between two starts, whether after a failure or for unknown key ids.
    pub(super) retry_after: Duration,
    /// Longest time the last good keys serve while the source is away.
    pub(super) stale_max: Duration,
}

/// The keys at hand and the state of fetching.
#[derive(Debug)]
pub(super) struct Cache {
    timing: Timing,
    held: Option<Held>,
    last_start: Option<Instant>,
    running: bool,
    /// The last fetch that ended did so badly.
    failing: bool,
}

#[derive(Debug)]
struct Held {
    ring: Arc<KeyRing>,
    stamp: Option<Stamp>,
    confirmed_at: Instant,
}

/// What to do for one token.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) plan: Plan,
    /// A fetch is due and the caller must start it.
    pub(super) start: bool,
}

#[derive(Debug)]
pub(super) enum Plan {
    Use(Arc<KeyRing>),
    /// Wait for the fetch under way to end, then `settle`.
    Wait,
    Refuse(TokenError),
}

impl Cache {
    pub(super) fn new(timing: Timing) -> Self {
        Self { timing, held: None, last_start: None, running: false, failing: false }
    }

    pub(super) fn decide(&mut self, now: Instant, token: &Compact<'_>) -> Decision {
        let timing = self.timing;
        let known = self.known(now, token);
        let age = self.age(now).unwrap_or(Duration::MAX);
        let rested =
            self.last_start.is_none_or(|start| now.duration_since(start) >= timing.retry_after);
        let due = known.is_none() || age >= timing.refresh_after;
        let start = due && rested && !self.running;
        if start {
            self.running = true;
            self.last_start = Some(now);
        }
        let idle = age >= timing.wait_after && !self.failing;
        let plan = match known {
            Some(ring) if !(self.running && idle) => Plan::Use(ring),
            _ if self.running => Plan::Wait,
            _ => Plan::Refuse(self.missing(now)),
        };
        Decision { plan, start }
    }

    /// Answers a token that has waited for a fetch: with what is at hand now.
    pub(super) fn settle(
        &self,
        now: Instant,
        token: &Compact<'_>,
    ) -> Result<Arc<KeyRing>, TokenError> {
        self.known(now, token).ok_or_else(|| self.missing(now))
    }

    /// Takes over the result of a fetch; `None` says that the source has not changed.
    pub(super) fn succeeded(&mut self, now: Instant, fetched: Option<Fetched>) {
        self.running = false;
        self.failing = false;
        match (fetched, &mut self.held) {
            (Some(Fetched { ring, stamp }), _) => {
                tracing::debug!(keys = ring.len(), "key set fetched");
                self.held = Some(Held { ring: Arc::new(ring), stamp, confirmed_at: now });
            }
            (None, Some(held)) => held.confirmed_at = now,
            (None, None) => {}
        }
    }

    /// Notes a failed fetch and returns the age of the keys that go on serving.
    pub(super) fn failed(&mut self, now: Instant) -> Option<Duration> {
        self.running = false;
        self.failing = true;
        self.age(now)
    }

    /// The version of the source that the keys at hand came from.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.held.as_ref().and_then(|held| held.stamp)
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        self.held.as_ref().map(|held| now.duration_since(held.confirmed_at))
    }

    /// The keys at hand, if they are not too old and have one for `token`.
    fn known(&self, now: Instant, token: &Compact<'_>) -> Option<Arc<KeyRing>> {
        let held = self.held.as_ref()?;
        let serves = self.age(now)? < self.timing.stale_max
            && !matches!(held.ring.find(token), Found::Nothing);
        serves.then(|| Arc::clone(&held.ring))
    }

    fn missing(&self, now: Instant) -> TokenError {
        let current = self.age(now).is_some_and(|age| age < self.timing.stale_max);
        if current && !self.failing { TokenError::UnknownKey } else { TokenError::KeysUnavailable }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Issuer;

    const TIMING: Timing = Timing {
        refresh_after: Duration::from_secs(300),
        wait_after: Duration::from_secs(600),
        retry_after: Duration::from_secs(10),
        stale_max: Duration::from_secs(24 * 3600),
    };

    struct Scene {
        issuer: Issuer,
        token: String,
        cache: Cache,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let issuer = Issuer::ed_dsa("one");
            let token = issuer.token(&serde_json::json!({"sub": "alice"}));
            Self { issuer, token, cache: Cache::new(TIMING), now: Instant::now() }
        }

        fn after(&mut self, seconds: u64) -> &mut Self {
            self.now += Duration::from_secs(seconds);
            self
        }

        fn fetched(&mut self) -> &mut Self {
            let ring = KeyRing::parse(self.issuer.jwks().as_bytes()).unwrap();
            self.cache.succeeded(self.now, Some(Fetched { ring, stamp: None }));
            self
        }

        fn failed(&mut self) -> &mut Self {
            self.cache.failed(self.now);
            self
        }

        /// `+` means that a fetch is started.
        fn decides(&mut self) -> &'static str {
            let token = Compact::parse(&self.token).unwrap();
            let Decision { plan, start } = self.cache.decide(self.now, &token);
            match (plan, start) {
                (Plan::Use(_), false) => "use",
                (Plan::Use(_), true) => "use+",
                (Plan::Wait, false) => "wait",
                (Plan::Wait, true) => "wait+",
                (Plan::Refuse(error), false) => error.reason(),
                (Plan::Refuse(_), true) => unreachable!("a refusal starts nothing"),
            }
        }

        fn settles(&self) -> Result<(), TokenError> {
            let token = Compact::parse(&self.token).unwrap();
            self.cache.settle(self.now, &token).map(|_| ())
        }
    }

    #[test]
    fn the_first_token_starts_the_fetch_and_the_others_wait_for_it() {
        let mut scene = Scene::new();
        assert_eq!(scene.decides(), "wait+");
        assert_eq!(scene.decides(), "wait");
        assert_eq!(scene.fetched().settles(), Ok(()));
        assert_eq!(scene.decides(), "use");
    }

    #[test]
    fn a_source_that_was_never_reached_is_tried_every_ten_seconds() {
        let mut scene = Scene::new();
        assert_eq!(scene.decides(), "wait+");
        assert_eq!(scene.failed().settles(), Err(TokenError::KeysUnavailable));
        assert_eq!(scene.after(9).decides(), "keys_unavailable");
        assert_eq!(scene.after(1).decides(), "wait+");
    }

    #[test]
    fn keys_in_use_are_refreshed_behind_the_answer() {
        let mut scene = Scene::new();
        assert_eq!(scene.decides(), "wait+");
        assert_eq!(scene.fetched().after(299).decides(), "use");
        assert_eq!(scene.after(1).decides(), "use+");
        assert_eq!(scene.decides(), "use");
        assert_eq!(scene.fetched().after(200).decides(), "use");
    }

    #[test]
    fn keys_that_lay_idle_are_confirmed_before_they_are_used() {
        let mut scene = Scene::new();
        scene.fetched().after(600);
        assert_eq!(scene.decides(), "wait+");
        assert_eq!(scene.decides(), "wait");
    }

    #[test]
    fn stale_keys_serve_for_a_day_while_the_source_is_away() {
        let mut scene = Scene::new();
        scene.fetched().after(3600);
        assert_eq!(scene.decides(), "wait+");
        assert_eq!(scene.failed().settles(), Ok(()));
        assert_eq!(scene.after(5).decides(), "use");
        assert_eq!(scene.after(5).decides(), "use+");
        assert_eq!(scene.decides(), "use");
        assert_eq!(scene.failed().after(23 * 3600).decides(), "wait+");
        assert_eq!(scene.failed().settles(), Err(TokenError::KeysUnavailable));
    }

    #[test]
    fn an_unknown_key_id_causes_one_fetch_in_ten_seconds() {
        let mut scene = Scene::new();
        scene.fetched();
        scene.token = Issuer::ed_dsa("two").token(&serde_json::json!({}));
        assert_eq!(scene.decides(), "wait+");
        assert_eq!(scene.fetched().settles(), Err(TokenError::UnknownKey));
        assert_eq!(scene.after(9).decides(), "unknown_key");
        assert_eq!(scene.after(1).decides(), "wait+");
        assert_eq!(scene.failed().settles(), Err(TokenError::KeysUnavailable));
    }

    #[test]
    fn an_unchanged_source_confirms_the_keys() {
        let mut scene = Scene::new();
        scene.fetched().after(300);
        assert_eq!(scene.decides(), "use+");
        let now = scene.now;
        scene.cache.succeeded(now, None);
        assert_eq!(scene.after(299).decides(), "use");
    }
}
