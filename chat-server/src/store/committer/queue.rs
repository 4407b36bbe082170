//! Drafts that wait for the next transaction.
//!
//! Bounded by count and by bytes; what does not fit is refused at once, with a time after which
//! the queue will probably have been written. While the store is away everything is.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use metrics::Gauge;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::super::{Draft, Error, Outcome};

/// Drafts in one transaction: the rate hardly grows beyond it, and the locks are held longer.
const BATCH_MAX: usize = 256;

/// Bytes of payload in one transaction: 256 messages of 16 KiB.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Drafts that may wait: 64 full batches, one to two seconds of what a database takes.
const QUEUE_MAX: usize = 64 * BATCH_MAX;

/// Bytes of drafts that may wait: 2 KiB for each of them, a megabyte for each of 32 batches.
const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What a draft takes beside its payload: itself, its answer, its place in the queue.
const DRAFT_BYTES: usize = 256;

/// A draft that waited this long is not written any more: its client is about to give up.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// Bounds of the time after which a client may try again.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Drafts a second that are assumed before the first batch is done.
const RATE_ASSUMED: f64 = 1000.0;

/// How much the newest batch counts in the rate.
const RATE_WEIGHT: f64 = 0.2;

/// What waits; shared by those who send and the one who writes.
pub(super) struct Queue {
    /// Held to push one draft or to take one batch.
    state: Mutex<State>,
    changed: Notify,
    level: Gauge,
}

struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// Drafts a second, lately.
    rate: f64,
    /// Why nothing is taken at the moment.
    away: Option<Error>,
    closed: bool,
}

/// A draft and who waits for it.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) draft: Draft,
    pub(super) answer: oneshot::Sender<Outcome>,
    since: Instant,
}

/// Closes the queue when it goes.
pub(super) struct Open<'a>(&'a Queue);

impl Queue {
    pub(super) fn new(level: Gauge) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            rate: RATE_ASSUMED,
            away: None,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new(), level }
    }

    /// Takes a draft, or refuses it at once.
    pub(super) fn push(
        &self,
        draft: Draft,
        now: Instant,
    ) -> Result<oneshot::Receiver<Outcome>, Error> {
        let mut state = self.state.lock();
        state.admit(&draft)?;
        let (answer, outcome) = oneshot::channel();
        state.bytes += cost(&draft);
        state.waiting.push_back(Waiting { draft, answer, since: now });
        drop(state);
        self.changed.notify_one();
        Ok(outcome)
    }

    /// The next batch, as soon as there is anything; `None` when the queue is closed and empty.
    pub(super) async fn gather(&self) -> Option<Vec<Waiting>> {
        loop {
            let batch = self.take(Instant::now());
            if !batch.is_empty() {
                return Some(batch);
            }
            if self.is_over() {
                return None;
            }
            self.changed.notified().await;
        }
    }

    /// One batch of what there is. Whoever waited too long is refused here.
    fn take(&self, now: Instant) -> Vec<Waiting> {
        let mut state = self.state.lock();
        let late = state.late(now);
        let batch = state.batch();
        let busy = state.busy();
        self.level.set(state.waiting.len() as f64);
        drop(state);
        refuse(late, &busy);
        batch
    }

    fn is_over(&self) -> bool {
        let state = self.state.lock();
        state.closed && state.waiting.is_empty()
    }

    /// A batch took this long.
    pub(super) fn written(&self, drafts: usize, took: Duration) {
        let rate = drafts as f64 / took.as_secs_f64().max(f64::EPSILON);
        let mut state = self.state.lock();
        state.rate += (rate - state.rate) * RATE_WEIGHT;
    }

    /// Refuses what waits and whatever comes, until [`Queue::back`].
    pub(super) fn away(&self, error: Error) {
        let mut state = self.state.lock();
        state.away = Some(error.clone());
        state.bytes = 0;
        let waiting: Vec<Waiting> = state.waiting.drain(..).collect();
        drop(state);
        self.level.set(0.0);
        refuse(waiting, &error);
    }

    /// Takes drafts again.
    pub(super) fn back(&self) {
        self.state.lock().away = None;
    }

    /// Takes no more drafts; those it has are still gathered.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.changed.notify_one();
    }

    /// Ends with [`Queue::close`].
    pub(super) async fn closed(&self) {
        while !self.state.lock().closed {
            self.changed.notified().await;
        }
    }

    /// Closes the queue, and refuses what is left in it, when the result is dropped.
    pub(super) const fn closed_at_the_end(&self) -> Open<'_> {
        Open(self)
    }
}

impl State {
    fn admit(&self, draft: &Draft) -> Result<(), Error> {
        if let Some(error) = &self.away {
            return Err(error.clone());
        }
        if self.closed {
            return Err(super::unavailable("store_down"));
        }
        if self.waiting.len() >= QUEUE_MAX || self.bytes + cost(draft) > QUEUE_BYTES_MAX {
            return Err(self.busy());
        }
        Ok(())
    }

    /// Takes out whoever waited too long: they are in front.
    fn late(&mut self, now: Instant) -> Vec<Waiting> {
        let is_late = |first: &Waiting| now.saturating_duration_since(first.since) > WAIT_MAX;
        let mut late = Vec::new();
        while self.waiting.front().is_some_and(is_late) {
            late.extend(self.pop());
        }
        late
    }

    /// Takes out as many as one transaction may have.
    fn batch(&mut self) -> Vec<Waiting> {
        let mut batch = Vec::with_capacity(self.waiting.len().min(BATCH_MAX));
        let mut bytes = 0;
        while let Some(first) = self.waiting.front() {
            bytes += first.draft.data.len();
            let fits = batch.len() < BATCH_MAX && bytes <= BATCH_BYTES_MAX;
            if !fits && !batch.is_empty() {
                break;
            }
            batch.extend(self.pop());
        }
        batch
    }

    fn pop(&mut self) -> Option<Waiting> {
        let first = self.waiting.pop_front()?;
        self.bytes -= cost(&first.draft);
        Some(first)
    }

    /// The refusal of what does not fit.
    fn busy(&self) -> Error {
        let seconds = self.waiting.len() as f64 / self.rate.max(1.0);
        let retry_after = Duration::try_from_secs_f64(seconds).unwrap_or(RETRY_MAX);
        let retry_after = retry_after.clamp(RETRY_MIN, RETRY_MAX);
        Error::Unavailable { reason: "store_busy", retry_after }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.close();
        self.0.away(super::unavailable("store_down"));
    }
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        let waiting = state.waiting.len();
        f.debug_struct("Queue").field("waiting", &waiting).finish_non_exhaustive()
    }
}

fn cost(draft: &Draft) -> usize {
    draft.data.len() + DRAFT_BYTES
}

fn refuse(waiting: Vec<Waiting>, error: &Error) {
    for Waiting { answer, .. } in waiting {
        // Nobody waits for it any more.
        drop(answer.send(Err(error.clone())));
    }
}
