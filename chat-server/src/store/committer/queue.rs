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
            return Err(Error::unavailable("store_down"));
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
        self.0.away(Error::unavailable("store_down"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Json;
    use crate::room::{MessageId, RoomId};
    use crate::store::{Access, EventKind};

    type Answer = oneshot::Receiver<Outcome>;

    fn queue() -> Queue {
        Queue::new(Gauge::noop())
    }

    fn draft(bytes: usize) -> Draft {
        let room = RoomId::new();
        Draft {
            log: room.log(),
            channel: room.channel(),
            id: MessageId::new(),
            kind: EventKind::Message,
            sender: "ana".into(),
            idem: None,
            digest: 0,
            data: Json::from_value(&"x".repeat(bytes - 2)).unwrap(),
            access: Access::Member,
            accepted: Instant::now(),
        }
    }

    /// Pushes until the queue is full.
    fn fill(queue: &Queue, draft: &Draft) -> (Vec<Answer>, Error) {
        let mut answers = Vec::new();
        loop {
            match queue.push(draft.clone(), Instant::now()) {
                Ok(answer) => answers.push(answer),
                Err(refusal) => return (answers, refusal),
            }
        }
    }

    fn unavailable(error: &Error) -> (&'static str, Duration) {
        match error {
            Error::Unavailable { reason, retry_after } => (reason, *retry_after),
            other => panic!("{other}"),
        }
    }

    async fn refusal(answer: Answer) -> (&'static str, Duration) {
        unavailable(&answer.await.unwrap().unwrap_err())
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
        let queue = queue();
        // A database that takes 4,000 a second.
        for _ in 0..100 {
            queue.written(400, Duration::from_millis(100));
        }
        let (answers, refused) = fill(&queue, &draft(100));
        assert_eq!(answers.len(), QUEUE_MAX);
        let (reason, retry_after) = unavailable(&refused);
        assert_eq!(reason, "store_busy");
        let expected = QUEUE_MAX as f64 / 4000.0;
        assert!((retry_after.as_secs_f64() - expected).abs() < 0.1, "{retry_after:?}");
        let batch = queue.gather().await.unwrap();
        assert_eq!(batch.len(), BATCH_MAX);
        assert!(queue.push(draft(100), Instant::now()).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_fill_it_too_and_end_a_batch() {
        let queue = queue();
        let large = draft(64 * 1024);
        let (answers, refused) = fill(&queue, &large);
        assert_eq!(answers.len(), QUEUE_BYTES_MAX / cost(&large));
        assert_eq!(unavailable(&refused).0, "store_busy");
        let mut left = answers.len();
        while left > 0 {
            let batch = queue.gather().await.unwrap();
            assert!(batch.len() <= BATCH_BYTES_MAX / (64 * 1024));
            left -= batch.len();
        }
        assert_eq!(queue.state.lock().bytes, 0);
        // One that is larger than a batch goes alone.
        let _huge = queue.push(draft(BATCH_BYTES_MAX + 1), Instant::now()).unwrap();
        let _small = queue.push(draft(10), Instant::now()).unwrap();
        assert_eq!(queue.gather().await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_too_long_is_refused_and_not_written() {
        let queue = queue();
        let late = queue.push(draft(10), Instant::now()).unwrap();
        tokio::time::advance(WAIT_MAX + Duration::from_millis(1)).await;
        let fresh = draft(10);
        let _answer = queue.push(fresh.clone(), Instant::now()).unwrap();
        let batch = queue.gather().await.unwrap();
        assert_eq!(batch.iter().map(|it| it.draft.id).collect::<Vec<_>>(), [fresh.id]);
        assert_eq!(refusal(late).await.0, "store_busy");
    }

    #[tokio::test(start_paused = true)]
    async fn while_the_store_is_away_everyone_is_refused_at_once() {
        let queue = queue();
        let waiting = queue.push(draft(10), Instant::now()).unwrap();
        queue.away(Error::unavailable("store_down"));
        assert_eq!(refusal(waiting).await.0, "store_down");
        let refused = queue.push(draft(10), Instant::now()).unwrap_err();
        assert_eq!(unavailable(&refused).0, "store_down");
        queue.back();
        let _answer = queue.push(draft(10), Instant::now()).unwrap();
        assert_eq!(queue.gather().await.unwrap().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_gives_what_it_has_and_ends() {
        let queue = queue();
        let _answer = queue.push(draft(10), Instant::now()).unwrap();
        queue.close();
        assert!(queue.push(draft(10), Instant::now()).is_err());
        assert_eq!(queue.gather().await.unwrap().len(), 1);
        assert!(queue.gather().await.is_none());
        queue.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_writer_that_ends_leaves_nobody_waiting() {
        let queue = queue();
        let waiting = queue.push(draft(10), Instant::now()).unwrap();
        drop(queue.closed_at_the_end());
        assert_eq!(refusal(waiting).await.0, "store_down");
        assert!(queue.push(draft(10), Instant::now()).is_err());
    }
}
