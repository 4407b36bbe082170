//! One server: a process that can be killed, stopped, told to go, and started again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chassis::testing::{FaultProxy, free_port};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

/// Longest a start may take: a hundred times what it takes on a machine with nothing else to do.
const START_MAX: Duration = Duration::from_secs(30);

/// Longest an orderly end may take: a server's own bound and some more.
const END_MAX: Duration = Duration::from_secs(40);

/// Between two looks at a process.
const LOOK: Duration = Duration::from_millis(20);

/// The last lines of a log that are shown when a server ended by itself.
const LINES_SHOWN: usize = 5;

/// A server.
#[derive(Debug)]
pub struct Node {
    /// Its number, from 0.
    pub number: usize,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where clients connect.
    pub door: FaultProxy,
    /// Its way to Redis, when that can be cut.
    pub wire: Option<FaultProxy>,
    program: PathBuf,
    folder: PathBuf,
    variables: BTreeMap<String, String>,
    // Taken by whoever ends it; what is in there is meant to run.
    process: Mutex<Option<Child>>,
}

impl Node {
    /// One that is not started yet.
    pub async fn new(number: usize, program: PathBuf, folder: PathBuf) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut node = Self {
            number,
            address,
            door: FaultProxy::start(address).await,
            wire: None,
            program,
            folder,
            variables: BTreeMap::new(),
            process: Mutex::new(None),
        };
        node.set("PORT", address.port().to_string());
        node.set("WS_PORT", "0");
        node.set("PROMETHEUS_PORT", "0");
        node
    }

    /// Sets a variable of its environment, from the next start on.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.variables.insert(name.into(), value.into());
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it ends or does not listen in time.
    pub async fn start(&self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = self.command(&[]);
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("{}", self.program.display()))?;
        *self.process.lock() = Some(child);
        let mut looks = interval(LOOK);
        let begun = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(complaint) = self.ended() {
                bail!("{complaint}");
            }
            if begun.elapsed() > START_MAX {
                bail!("node {} does not listen after {START_MAX:?}", self.number);
            }
            looks.tick().await;
        }
        Ok(())
    }

    /// The program with these arguments and the server's settings.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).current_dir(&self.folder).stdin(Stdio::null());
        command.env_clear().envs(&self.variables);
        command
    }

    /// SIGKILL: it has no moment left.
    pub fn kill(&self) {
        if let Some(mut child) = self.process.lock().take() {
            // One that ended by itself is found when it is started again.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// SIGSTOP: everything stays open and nothing goes on.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT, after [`Node::stop`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it does not end in time, or with an error.
    pub async fn drain(&self) -> Result<Duration> {
        self.signal(Signal::TERM);
        let begun = Instant::now();
        let Some(mut child) = self.process.lock().take() else { bail!("it does not run") };
        let mut looks = interval(LOOK);
        let waited = timeout(END_MAX, async {
            loop {
                if let Some(status) = child.try_wait()? {
                    return Ok::<ExitStatus, std::io::Error>(status);
                }
                looks.tick().await;
            }
        });
        match waited.await {
            Ok(Ok(status)) if status.success() => Ok(begun.elapsed()),
            Ok(Ok(status)) => bail!("node {} ended with {status} after SIGTERM", self.number),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                drop(child.kill());
                drop(child.wait());
                bail!("node {} did not end within {END_MAX:?} after SIGTERM", self.number)
            }
        }
    }

    /// What is wrong if it ended by itself.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let status = self.process.lock().as_mut()?.try_wait().ok()??;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..).unwrap_or_default();
        Some(format!("node {} ended by itself, {status}: {}", self.number, last.join("\n")))
    }

    /// Panics and errors in its log, and its end if it ended by itself.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let loud = log.lines().filter(|line| line.contains("panicked at"));
        let loud = loud.map(|line| format!("node {}: {line}", self.number));
        loud.chain(self.ended()).collect()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = self.process.lock().as_ref() {
            // One that ended by itself cannot be signalled, and is found by `ended`.
            kill_process(Pid::from_child(child), signal).ok();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
