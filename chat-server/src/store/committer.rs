//! Appends from all sessions of the process, a transaction for what gathered.
//!
//! Its task takes what came while the last commit was in flight, writes it, publishes it in the
//! order of the log and tells everyone what became of theirs.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::{Draft, Error, Event, Outcome, Published, Store};

/// Drafts in one transaction.
const BATCH_MAX: usize = 256;

/// Drafts that may wait: 64 full batches, well over a second of what a database takes.
const QUEUE_MAX: usize = 64 * BATCH_MAX;

/// What is done with committed events.
pub type Publish = Arc<dyn Fn(Vec<Published>) + Send + Sync>;

/// The one writer of messages; shared by every session.
pub struct Committer {
    store: Arc<Store>,
    queue: mpsc::Sender<(Draft, oneshot::Sender<Outcome>)>,
}

impl Committer {
    /// Starts it on `tasks`.
    #[must_use]
    pub fn start(store: Arc<Store>, publish: Publish, tasks: &TaskTracker) -> Arc<Self> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        tasks.spawn(run(store.clone(), publish, waiting));
        Arc::new(Self { store, queue })
    }

    /// Appends a draft and waits until it is durable.
    ///
    /// # Errors
    /// What became of it instead.
    pub async fn append(&self, draft: Draft) -> Outcome {
        self.store.monitor.check()?;
        let (answer, outcome) = oneshot::channel();
        if self.queue.try_send((draft, answer)).is_err() {
            return Err(super::Monitor::unavailable("store_busy"));
        }
        outcome.await.unwrap_or(Err(super::Monitor::unavailable("store_down")))
    }
}

async fn run(
    store: Arc<Store>,
    publish: Publish,
    mut waiting: mpsc::Receiver<(Draft, oneshot::Sender<Outcome>)>,
) {
    let mut gathered = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut gathered, BATCH_MAX).await > 0 {
        let (drafts, answers): (Vec<Draft>, Vec<_>) = gathered.drain(..).unzip();
        let outcomes = store.append(&drafts).await;
        let outcomes = outcomes.unwrap_or_else(|error| vec![Err(error); drafts.len()]);
        publish(published(drafts, &outcomes));
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody waits for the answer any more: what was written is written.
            let _gone = answer.send(outcome);
        }
    }
}

/// What was written, in the order of each log.
fn published(drafts: Vec<Draft>, outcomes: &[Result<super::Appended, Error>]) -> Vec<Published> {
    let written = drafts.into_iter().zip(outcomes).filter_map(|(draft, outcome)| {
        let appended = outcome.as_ref().ok().filter(|appended| !appended.duplicate)?;
        let event = Event { offset: appended.offset, time_ms: appended.time_ms, data: draft.data };
        let (log, channel, accepted) = (draft.log, draft.channel, Some(draft.accepted));
        Some(Published { log, channel, event, amends: Vec::new(), accepted })
    });
    written.collect()
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}
