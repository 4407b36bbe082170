//! Whether the database can be used: what the last calls found, and what the probe says.
//!
//! While it is down every call is refused at once instead of waiting for the same failure, and who
//! is waiting already is told. One connection that breaks is not yet a database that is down: then
//! the probe looks at once, and only it decides. What cannot be written may still be read.

pub(super) mod probe;
pub(super) mod verdict;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::ops::{Check, Status};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::{Error, Store};
use verdict::{Verdict, verdict};

/// The longest anybody waits for one call: a command is answered within four seconds.
const PATIENCE_MAX: Duration = Duration::from_secs(3);

/// Reasons that leave everything readable.
const READABLE: &[&str] = &["store_read_only", "store_full", "store_locked"];

/// The health of the database as this process sees it.
#[derive(Debug)]
pub struct Monitor {
    state: watch::Sender<State>,
    /// Wakes the probe.
    suspicion: Notify,
    /// The connections are suspicious too, not only the server.
    suspects_connections: AtomicBool,
    /// How long one call may take.
    patience: Duration,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// Since when.
        since: Instant,
        /// A stable word: see [`Error::Unavailable`].
        reason: &'static str,
    },
}

/// What a call does with the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// It only reads.
    Read,
    /// It may write.
    Write,
}

impl State {
    /// What health says of it: a database that is away makes the server unready only after
    /// `away_max`, for turning clients away helps none of them before another server is up.
    fn status(self, now: Instant, away_max: Duration) -> Status {
        let Self::Down { since, reason } = self else { return Status::Ok };
        let away = now.saturating_duration_since(since);
        let text = format!("{reason} for {} s", away.as_secs());
        if away < away_max { Status::Degraded(text) } else { Status::Failing(text) }
    }

    /// Why a call is not even tried.
    fn refusal(self, need: Need) -> Option<Error> {
        match self {
            Self::Up => None,
            Self::Down { reason, .. } if need == Need::Read && READABLE.contains(&reason) => None,
            Self::Down { reason, .. } => Some(Error::unavailable(reason)),
        }
    }
}

impl Monitor {
    /// Everything is well until somebody finds otherwise; a call may take `timeout`.
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            state: watch::Sender::new(State::Up),
            suspicion: Notify::new(),
            suspects_connections: AtomicBool::new(false),
            patience: timeout.min(PATIENCE_MAX),
        }
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        *self.state.borrow()
    }

    /// Tells of every change from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Refuses at once while nothing can be written.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.state().refusal(Need::Write).map_or(Ok(()), Err)
    }

    /// Does a call, unless the database is down; stops waiting for it when the database goes down
    /// meanwhile, or when it takes too long. What was written by then is not known in both cases.
    pub(super) async fn guard<T>(
        &self,
        need: Need,
        call: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        let mut state = self.state.subscribe();
        if let Some(refused) = state.borrow_and_update().refusal(need) {
            return Err(refused);
        }
        tokio::select! {
            // What is done is done, whatever else is known by then.
            biased;
            done = call => done.map_err(|error| self.judge(error)),
            // The sender lives in here: there is always a state.
            Ok(down) = state.wait_for(|state| state.refusal(need).is_some()) => {
                Err(down.refusal(need).unwrap_or(Error::unavailable("store_down")))
            }
            () = sleep(self.patience) => {
                Err(self.suspect("store_timeout"))
            }
        }
    }

    /// What a database error means for whoever called.
    pub(super) fn judge(&self, error: sqlx::Error) -> Error {
        match verdict(&error) {
            Verdict::Down(reason) => self.failed(reason, &error),
            Verdict::Suspect(reason) => {
                tracing::debug!(%error, reason, "the store may be away");
                // The pool that has no connection left is not the one that has bad ones.
                if !matches!(error, sqlx::Error::PoolTimedOut) {
                    self.suspects_connections.store(true, Ordering::Relaxed);
                }
                self.suspect(reason)
            }
            Verdict::Busy(reason) => {
                tracing::debug!(%error, reason, "the store is busy");
                Error::unavailable(reason)
            }
            Verdict::Statement => Error::Database(Arc::new(error)),
        }
    }

    /// Perhaps nothing can be written: the probe looks at once.
    pub(super) fn suspect(&self, reason: &'static str) -> Error {
        self.suspicion.notify_one();
        Error::unavailable(reason)
    }

    /// Nothing can be written.
    fn failed(&self, reason: &'static str, error: &dyn std::fmt::Display) -> Error {
        self.state.send_if_modified(|state| {
            let since = match *state {
                State::Down { reason: known, .. } if known == reason => return false,
                State::Down { since, .. } => since,
                State::Up => Instant::now(),
            };
            tracing::warn!(reason, %error, "the store cannot be used");
            *state = State::Down { since, reason };
            true
        });
        Error::unavailable(reason)
    }

    /// The probe wrote.
    fn recovered(&self) {
        self.state.send_if_modified(|state| {
            let State::Down { since, reason } = *state else { return false };
            tracing::info!(after = ?since.elapsed(), reason, "the store can be used again");
            *state = State::Up;
            true
        });
    }
}

impl Store {
    /// Whether the database can be used, as far as is known.
    #[must_use]
    pub fn state(&self) -> State {
        self.monitor.state()
    }

    /// What becomes known of it.
    #[must_use]
    pub fn monitor(&self) -> &Monitor {
        &self.monitor
    }

    /// What `/health/ready` says of it: failing after `away_max`.
    #[must_use]
    pub fn health(self: &Arc<Self>, away_max: Duration) -> Check {
        let store = self.clone();
        Check::new("store", move || store.state().status(Instant::now(), away_max))
    }
}

#[cfg(test)]
mod tests;
