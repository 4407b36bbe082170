//! The line to one server: a queue of what is to be said through it, and what is to be heard.
//!
//! Its task speaks and listens until the server is none of ours any more. While nothing is heard
//! the state says why, and nobody waits for what cannot come.

use std::fmt;
use std::sync::Arc;

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

/// A message on its way: its topic and its bytes.
pub(super) type Said = (String, Bytes);

/// The way to one server.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) server: Address,
    waiting: mpsc::Sender<Said>,
    /// Topics that became wanted, or are not wanted any more, since the task looked. A lock, for
    /// it is held as long as a push takes.
    changed: Mutex<Vec<Arc<str>>>,
    pub(super) wake: Notify,
    pub(super) state: watch::Sender<BusState>,
    over: CancellationToken,
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
            changed: Mutex::default(),
            wake: Notify::new(),
            state: watch::Sender::new(BusState::Down(CONNECTING)),
            over: CancellationToken::new(),
        };
        (Arc::new(line), waiting)
    }

    /// Gives it a message; false when it has too many.
    pub(super) fn say(&self, said: Said) -> bool {
        self.waiting.try_send(said).is_ok()
    }

    /// Topics of this server became wanted, or are not any more.
    pub(super) fn change(&self, topics: impl IntoIterator<Item = Arc<str>>) {
        self.changed.lock().extend(topics);
        self.wake.notify_one();
    }

    pub(super) fn changes(&self) -> Vec<Arc<str>> {
        std::mem::take(&mut *self.changed.lock())
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
        tokio::select! {
            biased;
            () = self.line.over.cancelled() => {}
            () = speaker::speak(&self, &mut waiting) => {}
            () = listener::listen(&self) => {}
        }
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
