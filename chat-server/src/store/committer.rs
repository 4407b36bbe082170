//! Appends from all sessions of the process, a transaction for what gathered.
//!
//! ```text
//! append -> Queue -> write: one transaction a batch -> tell: publish, then answer everyone
//! ```
//! Two tasks. `write` takes what came while the last commit was in flight and never waits for
//! more: a timer is late by more than a commit takes. `tell` publishes in the order of each log
//! while the next batch is being written, and answers after that: what is acknowledged is durable
//! and on its way. Both end when the queue is closed and empty.
//!
//! Invariants: a draft that was accepted is written or refused whatever becomes of who sent it;
//! every wait is bounded; nothing is written twice by this process alone.

mod link;
mod queue;

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use metrics::{Gauge, Histogram};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use link::Link;
use queue::{Queue, Waiting};

use super::{Draft, Error, Event, Outcome, Published, Store};

/// Longest that a batch may take, and half of the time a client waits for an answer gone; a
/// shorter `DATABASE_TIMEOUT_MS` counts.
const BATCH_TIMEOUT: Duration = Duration::from_secs(3);

/// How long whoever asked waits: SDKs give up after five seconds, and every command is answered
/// within four.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(3500);

/// Batches that are committed and not published yet: publishing is quicker than a commit, so more
/// than one waits only when threads are short.
const TOLD_MAX: usize = 4;

/// What is done with committed events.
pub type Publish = Arc<dyn Fn(Vec<Published>) + Send + Sync>;

/// The one writer of messages; shared by every session.
pub struct Committer {
    store: Arc<Store>,
    queue: Arc<Queue>,
    /// Everything is written and told.
    over: CancellationToken,
}

/// What a committer works with.
pub struct Wiring {
    /// Where to write.
    pub store: Arc<Store>,
    /// What to do with what was written; called in the order of each log.
    pub publish: Publish,
    /// What to count.
    pub meters: Meters,
}

/// What a committer counts.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Drafts in a batch.
    pub batch_size: Histogram,
    /// From the begin of a batch to its commit.
    pub commit_seconds: Histogram,
    /// Drafts that wait.
    pub waiting: Gauge,
}

/// A batch that is done.
struct Done {
    drafts: Vec<Draft>,
    answers: Vec<oneshot::Sender<Outcome>>,
    outcomes: Vec<Outcome>,
}

impl Committer {
    /// Starts it on `tasks`.
    #[must_use]
    pub fn start(wiring: Wiring, tasks: &TaskTracker) -> Arc<Self> {
        let Wiring { store, publish, meters } = wiring;
        let queue = Arc::new(Queue::new(meters.waiting.clone()));
        let over = CancellationToken::new();
        let (done, told) = mpsc::channel(TOLD_MAX);
        tasks.spawn(write(store.clone(), queue.clone(), meters, done));
        tasks.spawn(tell(told, publish, over.clone()));
        Arc::new(Self { store, queue, over })
    }

    /// Appends a draft and waits until it is durable. Whoever does not wait for the answer has
    /// not taken the draft back.
    ///
    /// # Errors
    /// What became of it instead; [`Error::Unavailable`] leaves open whether it is there, and the
    /// same draft may come again.
    pub async fn append(&self, draft: Draft) -> Outcome {
        self.store.monitor.check()?;
        let answer = self.queue.push(draft, Instant::now())?;
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_writer_is_gone)) => Err(Error::unavailable("store_down")),
            Err(_elapsed) => Err(Error::late()),
        }
    }

    /// Takes no more drafts and waits until those it took are written and told.
    pub async fn close(&self) {
        self.queue.close();
        self.over.cancelled().await;
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").field("queue", &self.queue).finish_non_exhaustive()
    }
}

impl fmt::Debug for Wiring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wiring").field("meters", &self.meters).finish_non_exhaustive()
    }
}

/// Nobody counts.
impl Default for Meters {
    fn default() -> Self {
        Self {
            batch_size: Histogram::noop(),
            commit_seconds: Histogram::noop(),
            waiting: Gauge::noop(),
        }
    }
}

async fn write(store: Arc<Store>, queue: Arc<Queue>, meters: Meters, done: mpsc::Sender<Done>) {
    // However this ends, nobody waits in the queue for ever.
    let _open = queue.closed_at_the_end();
    let limit = store.timeout.min(BATCH_TIMEOUT);
    let mut link = Link::new(&store, limit);
    loop {
        link.connect(&store, &queue).await;
        let Some(batch) = queue.gather().await else { return };
        link.check(&store).await;
        let (drafts, answers): (Vec<Draft>, Vec<_>) =
            batch.into_iter().map(|Waiting { draft, answer, .. }| (draft, answer)).unzip();
        let begun = Instant::now();
        let outcomes = match link.writer() {
            Some(writer) => store.append_with(writer, &drafts, begun + limit).await,
            // The store is away, or was when the queue was closed.
            None => vec![Err(Error::unavailable("store_down")); drafts.len()],
        };
        let took = begun.elapsed();
        meters.batch_size.record(drafts.len() as f64);
        meters.commit_seconds.record(took);
        queue.written(drafts.len(), took);
        if outcomes.iter().any(is_failure) {
            link.drop_connection();
        }
        if done.send(Done { drafts, answers, outcomes }).await.is_err() {
            return;
        }
    }
}

async fn tell(mut told: mpsc::Receiver<Done>, publish: Publish, over: CancellationToken) {
    let _over = over.drop_guard();
    while let Some(done) = told.recv().await {
        let Done { drafts, answers, outcomes } = done;
        let published = written(drafts, &outcomes);
        // What is committed is acknowledged, also when it could not be published: readers find it
        // in the store.
        let publish = AssertUnwindSafe(|| publish(published));
        if catch_unwind(publish).is_err() {
            tracing::error!("publishing has panicked");
        }
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Nobody waits for it any more: what is written is written.
            drop(answer.send(outcome));
        }
    }
}

/// Not a refusal, but something that a statement or a connection had to do with.
const fn is_failure(outcome: &Outcome) -> bool {
    matches!(outcome, Err(Error::Unavailable { .. } | Error::Database(_) | Error::Broken(_)))
}

/// What is new, in the order of each log.
fn written(drafts: Vec<Draft>, outcomes: &[Outcome]) -> Vec<Published> {
    let written = drafts.into_iter().zip(outcomes).filter_map(|(draft, outcome)| {
        let appended = outcome.as_ref().ok().filter(|appended| !appended.duplicate)?;
        let event = Event { offset: appended.offset, time_ms: appended.time_ms, data: draft.data };
        let (log, channel, accepted) = (draft.log, draft.channel, Some(draft.accepted));
        Some(Published { log, channel, event, amends: Vec::new(), accepted })
    });
    written.collect()
}
