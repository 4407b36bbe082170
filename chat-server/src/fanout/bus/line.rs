//! The line to one server: a queue of what is to be said through it, and what is to be heard.
//!
//! Its task speaks and listens until the server is none of ours any more. While nothing is heard
//! the state says why, and nobody waits for what cannot come.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chassis::redis::{Address, Redis};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::transport::Transport;
use super::{BusState, CONNECTING, Receiver, listener, speaker};

/// Messages that wait to be said: what a busy node says in a tenth of a second. Beyond, the newest
/// are lost; the others repair what they miss.
const WAITING_MAX: usize = 16 * 1024;

/// Bytes of messages that wait or are under way: 2 KiB for each of [`WAITING_MAX`], or some five
/// hundred of the longest. Beyond, the newest are lost as well.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// A message on its way: its topic and its bytes.
pub(super) type Said = (String, Bytes);

/// The way to one server.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) server: Address,
    waiting: mpsc::Sender<Said>,
    /// Bytes of what waits or is under way.
    waiting_bytes: AtomicUsize,
    /// Nothing while nobody listens: whoever begins to asks for all that is wanted. A lock, for it
    /// is held as long as a look into a table takes.
    changed: Mutex<Option<Changes>>,
    pub(super) wake: Notify,
    pub(super) state: watch::Sender<BusState>,
    over: CancellationToken,
}

/// What the task of a line has to look at.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Topics that became wanted, or are not wanted any more.
    pub(super) topics: HashSet<Arc<str>>,
    /// Some of them come from another line: what was said on the way may have been missed.
    pub(super) have_moved: bool,
}

/// The task of a line, not running yet.
pub(super) struct Work {
    pub(super) line: Arc<Line>,
    pub(super) redis: Redis,
    pub(super) transport: Arc<Transport>,
    pub(super) receiver: Arc<dyn Receiver>,
}

impl Line {
    pub(super) fn new(server: Address) -> (Arc<Self>, mpsc::Receiver<Said>) {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let line = Self {
            server,
            waiting: sender,
            waiting_bytes: AtomicUsize::new(0),
            changed: Mutex::default(),
            wake: Notify::new(),
            state: watch::Sender::new(BusState::Down(CONNECTING)),
            over: CancellationToken::new(),
        };
        (Arc::new(line), waiting)
    }

    /// Gives it a message; false when it has too many.
    pub(super) fn say(&self, said: Said) -> bool {
        let bytes = size(&said);
        let waiting = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        let is_taken = waiting + bytes <= WAITING_BYTES_MAX && self.waiting.try_send(said).is_ok();
        if !is_taken {
            self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        is_taken
    }

    /// These do not wait any more: they were said, or are lost.
    pub(super) fn is_done_with(&self, said: &[Said]) {
        let bytes = said.iter().map(size).sum();
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// A topic of this server became wanted, or is not any more.
    pub(super) fn change(&self, topic: &Arc<str>) {
        if let Some(changes) = &mut *self.changed.lock() {
            changes.topics.insert(topic.clone());
            self.wake.notify_one();
        }
    }

    /// Topics came here from other servers, or went to them. Not all is heard until they are
    /// looked at.
    pub(super) fn shift(&self, topics: &[Arc<str>], some_come: bool) {
        if let Some(changes) = &mut *self.changed.lock() {
            changes.topics.extend(topics.iter().cloned());
            if some_come {
                changes.have_moved = true;
                self.state.send_replace(BusState::Down(CONNECTING));
            }
            self.wake.notify_one();
        }
    }

    /// From here on changes are kept for the task.
    pub(super) fn gather(&self) {
        *self.changed.lock() = Some(Changes::default());
    }

    /// Nothing is heard for this reason, so changes need not be kept.
    pub(super) fn rest(&self, reason: &'static str) {
        let mut changed = self.changed.lock();
        *changed = None;
        self.state.send_replace(BusState::Down(reason));
    }

    /// What has changed since the last look.
    pub(super) fn changes(&self) -> Changes {
        self.changed.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// All that was wanted at the last look is heard.
    pub(super) fn is_whole(&self) {
        let changed = self.changed.lock();
        if changed.as_ref().is_some_and(|changes| !changes.have_moved) {
            self.state.send_replace(BusState::Up);
        }
    }

    /// Whether what is wanted now is heard soon.
    pub(super) fn may_hear(&self) -> bool {
        may_hear(*self.state.borrow())
    }

    /// Its server is none of ours any more.
    pub(super) fn end(&self) {
        self.over.cancel();
    }
}

impl Work {
    /// Speaks and listens until the line is over.
    pub(super) async fn run(self, mut waiting: mpsc::Receiver<Said>) {
        let mut said = Vec::new();
        tokio::select! {
            biased;
            () = self.line.over.cancelled() => {}
            () = speaker::speak(&self, &mut waiting, &mut said) => {}
            () = listener::listen(&self) => {}
        }
        // Whoever still has the line cannot say anything any more.
        waiting.close();
        speaker::lose(&self, &mut waiting, &said);
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("line", &self.line).finish_non_exhaustive()
    }
}

/// Whether what is wanted on a line in this state is heard soon: one that connects for the first
/// time hears in a moment.
pub(super) fn may_hear(state: BusState) -> bool {
    matches!(state, BusState::Up | BusState::Down(CONNECTING))
}

fn size((topic, message): &Said) -> usize {
    topic.len() + message.len()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use chassis::redis::{Config, Location};
    use metrics::Counter;
    use uuid::Uuid;

    use super::*;
    use crate::fanout::bus::{Message, Meters, Topic};

    struct Nobody;

    impl Receiver for Nobody {
        fn receive(&self, _from: Uuid, _topic: Topic<'_>, _message: Message) {}
        fn resumed(&self) {}
    }

    fn server() -> Address {
        Address { host: "127.0.0.1".to_owned(), port: 1 }
    }

    #[test]
    fn changes_are_kept_once_each_and_only_while_somebody_listens() {
        let (line, _waiting) = Line::new(server());
        let topics: Vec<Arc<str>> = (0..100).map(|number| number.to_string().into()).collect();
        let change = || topics.iter().chain(&topics).for_each(|topic| line.change(topic));
        change();
        assert!(line.changed.lock().is_none());
        line.gather();
        change();
        assert_eq!(line.changes().topics.len(), topics.len());
        assert!(line.changes().topics.is_empty());
        change();
        line.rest("unreachable");
        change();
        assert!(line.changed.lock().is_none());
        assert_eq!(*line.state.borrow(), BusState::Down("unreachable"));
    }

    #[test]
    fn a_line_that_topics_come_to_is_up_again_when_they_were_looked_at() {
        let (line, _waiting) = Line::new(server());
        let state = || *line.state.borrow();
        line.gather();
        line.is_whole();
        assert_eq!(state(), BusState::Up);
        line.shift(&["gone".into()], false);
        assert_eq!(state(), BusState::Up);
        line.shift(&["come".into()], true);
        line.is_whole();
        assert_eq!(state(), BusState::Down(CONNECTING), "nobody has looked");
        let changes = line.changes();
        assert!(changes.have_moved && changes.topics.len() == 2);
        line.is_whole();
        assert_eq!(state(), BusState::Up);
    }

    #[test]
    fn what_waits_has_a_limit_in_bytes() {
        let (line, mut waiting) = Line::new(server());
        let message = Bytes::from(vec![0; 60 << 10]);
        let say = || line.say(("t".to_owned(), message.clone()));
        let taken = (0..WAITING_MAX).take_while(|_| say()).count();
        assert_eq!(taken, WAITING_BYTES_MAX / ((60 << 10) + 1));
        assert!(!say());
        let said = waiting.try_recv().unwrap();
        assert!(!say(), "it is under way");
        line.is_done_with(&[said]);
        assert!(say() && !say());
    }

    #[tokio::test]
    async fn what_waits_for_a_line_that_ends_is_lost_and_counted() {
        let lost = Arc::new(AtomicU64::new(0));
        let meters = Meters { lost: Counter::from_arc(lost.clone()), ..Meters::default() };
        let location = Location::parse(&"redis://127.0.0.1:1".into()).unwrap();
        let config = Config { location, size: 1, timeout: Duration::from_millis(500) };
        let redis = Redis::new(&config);
        let (transport, _tasks) = Transport::new(redis.clone(), "p", Uuid::new_v4(), meters);
        let (line, waiting) = Line::new(server());
        for _ in 0..3 {
            assert!(line.say(("t".to_owned(), Bytes::from_static(b"m"))));
        }
        line.end();
        let work = Work { line: line.clone(), redis, transport, receiver: Arc::new(Nobody) };
        work.run(waiting).await;
        assert_eq!(lost.load(Ordering::Relaxed), 3);
        assert_eq!(line.waiting_bytes.load(Ordering::Relaxed), 0);
        assert!(!line.say(("t".to_owned(), Bytes::new())));
    }
}
