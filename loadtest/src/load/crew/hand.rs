//! One worker: a process of this program, or a thread of it.
//!
//! Either way it has an end to hear orders from and one to report to, and knows no difference. The
//! thread is for tests and for small loads from programs that have no `worker` subcommand; its use
//! of the processor cannot be told from that of the coordinator.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as Pair;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::load::worker;
use crate::load::worker::word::{Order, Report};

/// Longest that an order may take to be taken, or a worker to end when it was told to.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at a process that ends.
const LOOK: Duration = Duration::from_millis(5);

/// How workers are started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hire {
    /// As processes: this program has a subcommand `worker`.
    Process(PathBuf),
    /// As threads of this process.
    Thread,
}

/// A worker.
#[derive(Debug)]
pub(super) struct Hand {
    worker: usize,
    orders: UnixStream,
    body: Body,
    // Passes on what it says, and ends with the value.
    _ear: JoinSet<()>,
}

#[derive(Debug)]
enum Body {
    Process(Child),
    Thread(Option<JoinHandle<Result<()>>>),
}

/// What a worker said; or how it ended without being told to.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) worker: usize,
    pub(super) report: Result<Report, String>,
}

impl Hire {
    /// As processes of the program that runs.
    ///
    /// # Errors
    /// When nobody knows where that is.
    pub fn own() -> Result<Self> {
        Ok(Self::Process(std::env::current_exe().context("where this program is")?))
    }
}

impl Hand {
    /// Starts a worker whose reports go to `tell`.
    pub(super) fn start(worker: usize, hire: &Hire, tell: mpsc::Sender<Heard>) -> Result<Self> {
        let (orders, theirs) = Pair::pair().context("a pair of sockets")?;
        let (reports, out) = Pair::pair().context("a pair of sockets")?;
        let body = match hire {
            Hire::Process(program) => {
                let mut command = Command::new(program);
                command.arg("worker").stdin(OwnedFd::from(theirs)).stdout(OwnedFd::from(out));
                command.stderr(Stdio::inherit());
                Body::Process(command.spawn().with_context(|| program.display().to_string())?)
            }
            Hire::Thread => {
                let thread = thread::Builder::new().name(format!("worker {worker}"));
                let body = thread.spawn(move || worker::run(theirs.into(), out));
                Body::Thread(Some(body.context("a thread")?))
            }
        };
        for end in [&orders, &reports] {
            end.set_nonblocking(true)?;
        }
        let orders = UnixStream::from_std(orders)?;
        let mut ear = JoinSet::new();
        ear.spawn(listen(worker, UnixStream::from_std(reports)?, tell));
        Ok(Self { worker, orders, body, _ear: ear })
    }

    /// Gives an order.
    pub(super) async fn tell(&mut self, order: &Order) -> Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        match timeout(PATIENCE, self.orders.write_all(&line)).await {
            Ok(Ok(())) => Ok(()),
            // Why it is gone is in what it said last, which is heard.
            Ok(Err(_)) => Ok(()),
            Err(_) => bail!("worker {} takes no orders", self.worker),
        }
    }

    /// The process it runs in.
    pub(super) fn process(&self) -> u32 {
        match &self.body {
            Body::Process(child) => child.id(),
            Body::Thread(_) => std::process::id(),
        }
    }

    /// Waits for the end of one that was told to.
    pub(super) async fn end(mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            let ended = match &mut self.body {
                Body::Process(child) => child.try_wait()?.is_some(),
                Body::Thread(thread) => thread.as_ref().is_none_or(JoinHandle::is_finished),
            };
            if ended {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                bail!("worker {} does not end", self.worker);
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        match self {
            Self::Process(child) => {
                // It may have ended by itself; either way nothing is left behind.
                drop(child.kill());
                drop(child.wait());
            }
            // It ends by itself when its orders do, and has nothing that anybody waits for.
            Self::Thread(thread) => drop(thread.take()),
        }
    }
}

/// Passes on what a worker says, until it says no more.
async fn listen(worker: usize, reports: UnixStream, tell: mpsc::Sender<Heard>) {
    let mut lines = BufReader::new(reports).lines();
    let mut done = false;
    loop {
        let report = match lines.next_line().await {
            Ok(Some(line)) => serde_json::from_str(&line).map_err(|error| error.to_string()),
            Ok(None) if done => return,
            Ok(None) => Err("it ended without a word".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        done |= matches!(report, Ok(Report::Done(_)));
        let over = report.is_err();
        if tell.send(Heard { worker, report }).await.is_err() || over {
            return;
        }
    }
}
