//! Signals to a cancellation token, and the drain.
//!
//! Responsible for: telling everybody that the server is going (`draining`), waiting for their
//! tasks under a grace, telling those that are left that time is up (`forced`), and counting whom
//! that did not move. What going away means to a connection is not decided here.
//!
//! Order: SIGTERM, ctrl-c or [`Shutdown::trigger`] cancels `draining`; [`Shutdown::drain`] waits;
//! after the grace `forced` is cancelled. A second signal ends the process at once, with the code a
//! shell gives for it. Every long-lived task is spawned on [`Shutdown::tasks`].

use std::io;
use std::process;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// For tasks to end after they were told that time is up; they only have to drop what they hold.
const FORCED_GRACE: Duration = Duration::from_secs(1);

/// What ends a server; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    forced: CancellationToken,
    tasks: TaskTracker,
}

/// Waits for signals as long as it is held.
#[derive(Debug)]
#[must_use = "signals are waited for only while this is held"]
pub struct Signals {
    _waiting: JoinSet<()>,
}

/// How a drain went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Tasks that were still running when the grace was over.
    pub forced: usize,
    /// Tasks that ran on even then; the process ends over them.
    pub left: usize,
}

impl Shutdown {
    /// A shutdown nobody has asked for yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancelled when the server begins to go.
    #[must_use]
    pub fn draining(&self) -> &CancellationToken {
        &self.draining
    }

    /// Whether the server is going.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Cancelled when the grace is over: what runs now ends without ceremony.
    #[must_use]
    pub fn forced(&self) -> &CancellationToken {
        &self.forced
    }

    /// The tasks a drain waits for.
    #[must_use]
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    /// Begins the shutdown; what a first signal does.
    pub fn trigger(&self) {
        self.draining.cancel();
    }

    /// Begins to wait for SIGTERM and ctrl-c.
    ///
    /// # Errors
    /// When the operating system refuses a signal handler.
    pub fn listen(&self) -> io::Result<Signals> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let mut waiting = JoinSet::new();
        waiting.spawn(wait(self.clone(), terminate, interrupt));
        Ok(Signals { _waiting: waiting })
    }

    /// Begins the shutdown if nobody did, and waits for every task, for `grace` at most.
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.trigger();
        self.tasks.close();
        if timeout(grace, self.tasks.wait()).await.is_ok() {
            return Drained { forced: 0, left: 0 };
        }
        let forced = self.tasks.len();
        self.forced.cancel();
        let ended = timeout(FORCED_GRACE, self.tasks.wait()).await.is_ok();
        Drained { forced, left: if ended { 0 } else { self.tasks.len() } }
    }
}

async fn wait(shutdown: Shutdown, mut terminate: Signal, mut interrupt: Signal) {
    let first = next(&mut terminate, &mut interrupt).await;
    tracing::info!(signal = first.name, "shutting down; a second signal ends at once");
    shutdown.trigger();
    let second = next(&mut terminate, &mut interrupt).await;
    tracing::warn!(signal = second.name, "ended by a second signal");
    process::exit(second.exit_code);
}

/// A signal and what a shell reports for a process it ended: 128 and its number.
#[derive(Debug, Clone, Copy)]
struct Received {
    name: &'static str,
    exit_code: i32,
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> Received {
    tokio::select! {
        _ = terminate.recv() => Received { name: "SIGTERM", exit_code: 143 },
        _ = interrupt.recv() => Received { name: "SIGINT", exit_code: 130 },
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use rustix::process::{Signal as Number, getpid, kill_process};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_signal_begins_the_shutdown() {
        let shutdown = Shutdown::new();
        let _signals = shutdown.listen().unwrap();
        kill_process(getpid(), Number::TERM).unwrap();
        shutdown.draining().cancelled().await;
        assert!(shutdown.is_draining() && !shutdown.forced().is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn a_drain_ends_as_soon_as_the_last_task_does() {
        let shutdown = Shutdown::new();
        let draining = shutdown.draining().clone();
        shutdown.tasks().spawn(async move {
            draining.cancelled().await;
            tokio::time::sleep(Duration::from_secs(3)).await;
        });
        let start = Instant::now();
        assert_eq!(shutdown.drain(Duration::from_secs(30)).await, Drained { forced: 0, left: 0 });
        assert_eq!(start.elapsed().as_secs(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn after_the_grace_tasks_are_forced_and_the_deaf_are_counted() {
        let shutdown = Shutdown::new();
        let forced = shutdown.forced().clone();
        shutdown.tasks().spawn(async move { forced.cancelled().await });
        shutdown.tasks().spawn(pending::<()>());
        let start = Instant::now();
        assert_eq!(shutdown.drain(Duration::from_secs(30)).await, Drained { forced: 2, left: 1 });
        assert_eq!(start.elapsed().as_secs(), 31);
    }
}
