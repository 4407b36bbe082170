//! Whether the database can be used: what the last calls found, and a probe while it is away.
//!
//! While it is down every call is refused at once instead of waiting for the same failure.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Error;

/// When a client may try again while the database is away: about when the probe has looked again.
const RETRY_AFTER: Duration = Duration::from_millis(1000);

/// The health of the database as this process sees it.
#[derive(Debug, Default)]
pub struct Monitor {
    down: Mutex<Option<Down>>,
}

/// Since when and why it cannot be used.
#[derive(Debug, Clone, Copy)]
struct Down {
    since: Instant,
    reason: &'static str,
}

/// What is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers.
    Up,
    /// It does not.
    Down {
        /// For how long.
        since: Instant,
        /// A stable word: see [`Error::Unavailable`].
        reason: &'static str,
    },
}

impl Monitor {
    /// What is known now.
    #[must_use]
    pub fn state(&self) -> State {
        match *self.down.lock() {
            None => State::Up,
            Some(Down { since, reason }) => State::Down { since, reason },
        }
    }

    /// Refuses at once while it is down.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.state() {
            State::Up => Ok(()),
            State::Down { reason, .. } => Err(Self::unavailable(reason)),
        }
    }

    /// A call could not reach it.
    pub(super) fn failed(&self, reason: &'static str) -> Error {
        let mut down = self.down.lock();
        if down.is_none() {
            tracing::warn!(reason, "the store cannot be used");
            *down = Some(Down { since: Instant::now(), reason });
        }
        Self::unavailable(reason)
    }

    /// The probe reached it again.
    pub(super) fn recovered(&self) {
        if let Some(down) = self.down.lock().take() {
            tracing::info!(after = ?down.since.elapsed(), "the store can be used again");
        }
    }

    pub(super) const fn unavailable(reason: &'static str) -> Error {
        Error::Unavailable { reason, retry_after: RETRY_AFTER }
    }
}

impl Monitor {
    /// What a database error means for whoever called.
    pub(super) fn judge(&self, error: sqlx::Error) -> Error {
        match error {
            sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => {
                self.failed("store_down")
            }
            other => Error::Database(Arc::new(other)),
        }
    }
}
