//! The issuer's public keys: fetched when needed, kept while the issuer is away.
//!
//! Responsible for: deciding when to fetch (`cache`), doing it once for all who wait, handing
//! out the key a token names. Not for: transport (`source`) and key formats (`key`).
//! A fetch is a task of its own, so a caller that goes away does not cancel it for the others;
//! dropping `Jwks` aborts it. A caller waits for a fetch only when it cannot be answered from
//! keys at hand. Invariant: at most one fetch is under way, and at most one starts per
//! `retry_after`, whatever tokens arrive.

mod cache;
mod source;

use std::error::Error;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tracing::Instrument as _;

use self::cache::{Cache, Decision, Plan};
pub use self::source::SourceError;
use self::source::{Fetched, Source};
use super::JwksSource;
use super::key::Found;
use super::token::{Compact, TokenError};
use crate::stamp::Stamp;

/// Counter of fetches by outcome: a rising `failed` means keys are going stale.
const FETCHES: &str = "auth_key_fetches_total";

/// A set of public keys behind a file or a URL.
#[derive(Debug)]
pub(super) struct Jwks {
    shared: Arc<Shared>,
    /// The fetch under way, if any. Locked to start one and to reap the previous.
    fetches: Mutex<JoinSet<()>>,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    /// A mutex, not an `ArcSwap`: decisions read several fields, and it is held for
    /// nanoseconds, once per token of an asymmetric algorithm.
    cache: Mutex<Cache>,
    /// Told whenever a fetch has ended, well or not.
    ended: watch::Sender<()>,
}

/// A fetch under way. Its end is recorded on drop: after a panic too, those who wait are told.
struct Attempt {
    shared: Arc<Shared>,
    outcome: Result<Option<Fetched>, SourceError>,
}

impl Jwks {
    /// Prepares the source. A file is read at once, so that a wrong path shows at start; a URL
    /// is first fetched when a token needs it, so that services can start in any order.
    pub(super) fn new(source: &JwksSource) -> Result<Self, SourceError> {
        let source = Source::new(source)?;
        let mut cache = Cache::new(source.timing());
        if let Some(fetched) = source.first()? {
            cache.succeeded(Instant::now(), Some(fetched));
        }
        let shared =
            Arc::new(Shared { source, cache: Mutex::new(cache), ended: watch::Sender::new(()) });
        Ok(Self { shared, fetches: Mutex::new(JoinSet::new()) })
    }

    /// Verifies the signature of `token` with the key it names.
    pub(super) async fn verify(&self, token: &Compact<'_>) -> Result<(), TokenError> {
        let (plan, mut ended) = self.decide(token);
        let ring = match plan {
            Plan::Use(ring) => ring,
            Plan::Refuse(error) => return Err(error),
            Plan::Wait => {
                // The fetch bounds itself; this timeout only covers a runtime that is stuck.
                let told = timeout(2 * source::FETCH_TIMEOUT, ended.changed()).await;
                if told.is_err() {
                    return Err(TokenError::KeysUnavailable);
                }
                self.shared.cache.lock().settle(Instant::now(), token)?
            }
        };
        match ring.find(token) {
            Found::Key(key) => key.verify(token),
            Found::OtherAlgorithm => Err(TokenError::Algorithm),
            Found::Nothing => Err(TokenError::UnknownKey),
        }
    }

    /// Decides, and starts a fetch where one is due. The receiver is taken under the lock of the
    /// decision, so the end of a fetch cannot slip between it and waiting. The fetch is started
    /// outside: a runtime that is shutting down drops a task in `spawn`, and its end locks too.
    fn decide(&self, token: &Compact<'_>) -> (Plan, watch::Receiver<()>) {
        let (Decision { plan, start }, stamp, ended) = {
            let mut cache = self.shared.cache.lock();
            let decision = cache.decide(Instant::now(), token);
            (decision, cache.stamp(), self.shared.ended.subscribe())
        };
        if start {
            self.start(stamp);
        }
        (plan, ended)
    }

    fn start(&self, stamp: Option<Stamp>) {
        let mut fetches = self.fetches.lock();
        while let Some(ended) = fetches.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "the task that fetches the key set failed");
            }
        }
        let shared = Arc::clone(&self.shared);
        let attempt = Attempt { shared, outcome: Err(SourceError::Aborted) };
        fetches.spawn(attempt.run(stamp).in_current_span());
    }
}

impl Attempt {
    async fn run(mut self, stamp: Option<Stamp>) {
        self.outcome = self.shared.source.fetch(stamp).await;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let outcome = std::mem::replace(&mut self.outcome, Ok(None));
        let label = if outcome.is_ok() { "ok" } else { "failed" };
        metrics::counter!(FETCHES, "outcome" => label).increment(1);
        let failure = match outcome {
            Ok(fetched) => {
                self.shared.cache.lock().succeeded(Instant::now(), fetched);
                None
            }
            Err(error) => {
                let age = self.shared.cache.lock().failed(Instant::now());
                Some((error, age.map(|age| age.as_secs())))
            }
        };
        self.shared.ended.send_replace(());
        // An interrupted task is either shutdown or a panic, which `start` reports.
        if let Some((error, age_secs)) = failure
            && !matches!(error, SourceError::Aborted)
        {
            let (source, error) = (&self.shared.source, &error as &(dyn Error + 'static));
            tracing::warn!(%source, error, age_secs, "key set not fetched, keeping the old");
        }
    }
}

#[cfg(test)]
mod tests;
