//! What is done to the store in the background: events that are too old are removed.
//!
//! One task, ended by its token. Every round looks at so many logs and goes on where the last one
//! stopped; between two batches it rests as long as the batch took, so that publishers get at least
//! half of the database. Several nodes may do this at once: each batch decides under the lock of
//! its log.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::room::LogId;
use crate::store::{Error, Keep, Store, Trimmed};

/// Pages of logs that one round looks at: 10,000 logs, a fraction of a second. A million people
/// with a feed each are looked through in less than two hours.
const PAGES_MAX: usize = 20;

/// When and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long events are kept.
    pub keep: Keep,
    /// Between two rounds.
    pub interval: Duration,
}

/// Who hears of every batch that was removed; called after the commit.
pub type Told = Box<dyn Fn(Trimmed) + Send + Sync>;

/// The task.
pub struct Upkeep {
    store: Arc<Store>,
    config: Config,
    told: Told,
    /// Where the next round begins.
    next: Option<LogId>,
}

impl Upkeep {
    /// One that has not looked at anything yet.
    #[must_use]
    pub fn new(store: Arc<Store>, config: Config, told: Told) -> Self {
        Self { store, config, told, next: None }
    }

    /// Keeps removing until it is stopped; the batch under way is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            // Nodes that started together do not work together.
            let wait = self.config.interval.mul_f64(rand::rng().random_range(0.75..1.25));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
            }
            if let Err(error) = self.round(&stop).await {
                // The next round begins where this one ended.
                tracing::warn!(%error, "old events could not be removed");
            }
        }
    }

    async fn round(&mut self, stop: &CancellationToken) -> Result<(), Error> {
        for _ in 0..PAGES_MAX {
            let overdue = self.store.overdue(&self.config.keep, self.next).await?;
            for log in overdue.logs {
                match self.trim(log, stop).await {
                    Ok(()) => {}
                    Err(error @ Error::Unavailable { .. }) => return Err(error),
                    // One log that cannot be trimmed does not keep the others from it.
                    Err(error) => tracing::error!(%error, %log, "a log cannot be trimmed"),
                }
            }
            self.next = overdue.next;
            if self.next.is_none() || stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    /// Everything of a log that is too old.
    async fn trim(&self, log: LogId, stop: &CancellationToken) -> Result<(), Error> {
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let Some(trimmed) = self.store.trim(log, &self.config.keep).await? else { break };
            tracing::debug!(%log, removed = trimmed.removed, up_to = trimmed.trimmed, "trimmed");
            (self.told)(trimmed);
            if !trimmed.more {
                break;
            }
            sleep(begun.elapsed()).await;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Upkeep {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upkeep").field("config", &self.config).finish_non_exhaustive()
    }
}
