//! A server as a process: it can be killed, stopped, told to go, and started again.
//!
//! It listens on a free port of the loopback address, has an environment of nothing but what it was
//! given, a folder to run in and a log there. It never outlives its value: a panic and an end by
//! [`interrupted`] go through `Drop` like everything else. It does not know what runs beside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chassis::testing::free_port;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, timeout};

/// Longest a start may take: a hundred times what it takes on a machine with nothing else to do.
pub const START_MAX: Duration = Duration::from_secs(30);

/// Longest an orderly end may take: a server's own bound and some more.
const END_MAX: Duration = Duration::from_secs(40);

/// Between two looks at a process.
pub const LOOK: Duration = Duration::from_millis(20);

/// The last lines of a log that are shown when a server ended by itself.
const LINES_SHOWN: usize = 5;

/// A server.
#[derive(Debug)]
pub struct Process {
    /// What it is called in complaints.
    name: String,
    /// Where it listens.
    address: SocketAddr,
    program: PathBuf,
    folder: PathBuf,
    variables: BTreeMap<String, String>,
    // Taken by whoever ends it; what is in there is meant to run.
    child: Mutex<Option<Child>>,
}

impl Process {
    /// One that is not started yet, in a folder that is there.
    #[must_use]
    pub fn new(name: String, program: PathBuf, folder: PathBuf) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (variables, child) = (BTreeMap::new(), Mutex::new(None));
        let mut process = Self { name, address, program, folder, variables, child };
        process.set("PORT", address.port().to_string());
        process.set("WS_PORT", "0");
        process.set("PROMETHEUS_PORT", "0");
        process
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it runs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Its id, while it is meant to run.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.lock().as_ref().map(Child::id)
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
        *self.child.lock() = Some(child);
        let mut looks = interval(LOOK);
        let begun = Instant::now();
        while TcpStream::connect(self.address).await.is_err() {
            if let Some(complaint) = self.ended() {
                bail!("{complaint}");
            }
            if begun.elapsed() > START_MAX {
                bail!("{} does not listen after {START_MAX:?}", self.name);
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
        if let Some(mut child) = self.child.lock().take() {
            // One that ended by itself is found when it is started again.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// SIGSTOP: everything stays open and nothing goes on.
    pub fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT, after [`Process::stop`].
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
        let Some(mut child) = self.child.lock().take() else { bail!("it does not run") };
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
            Ok(Ok(status)) => bail!("{} ended with {status} after SIGTERM", self.name),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => {
                drop(child.kill());
                drop(child.wait());
                bail!("{} did not end within {END_MAX:?} after SIGTERM", self.name)
            }
        }
    }

    /// What is wrong if it ended by itself.
    #[must_use]
    pub fn ended(&self) -> Option<String> {
        let status = self.child.lock().as_mut()?.try_wait().ok()??;
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..).unwrap_or_default();
        Some(format!("{} ended by itself, {status}: {}", self.name, last.join("\n")))
    }

    /// Panics in its log, and its end if it ended by itself.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let loud = log.lines().filter(|line| line.contains("panicked at"));
        let loud = loud.map(|line| format!("{}: {line}", self.name));
        loud.chain(self.ended()).collect()
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = self.child.lock().as_ref() {
            // One that ended by itself cannot be signalled, and is found by `ended`.
            kill_process(Pid::from_child(child), signal).ok();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends when somebody wants the program to end: Ctrl-C, or SIGTERM.
///
/// Whoever waits for it drops what runs, so that no server is left behind.
///
/// # Errors
/// When signals cannot be heard.
pub async fn interrupted() -> Result<()> {
    let mut asked = signal(SignalKind::interrupt()).context("SIGINT")?;
    let mut told = signal(SignalKind::terminate()).context("SIGTERM")?;
    tokio::select! {
        _ = asked.recv() => {}
        _ = told.recv() => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A program in a folder of its own, `sh` with this script as the whole of it.
    fn script(folder: &Path, text: &str) -> Process {
        use std::os::unix::fs::PermissionsExt as _;
        let path = folder.join("program");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        Process::new("node 0".to_owned(), path, folder.to_owned())
    }

    #[tokio::test]
    async fn one_that_ends_at_once_is_told_of_with_its_last_words() {
        let folder = tempfile::tempdir().unwrap();
        let process = script(folder.path(), "echo no port for me; exit 3");
        let error = process.start().await.unwrap_err().to_string();
        assert!(error.contains("node 0 ended by itself, exit status: 3"), "{error}");
        assert!(error.contains("no port for me"), "{error}");
    }

    #[test]
    fn it_goes_with_its_value_even_when_that_goes_by_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let process = script(folder.path(), "exec sleep 1000");
        *process.child.lock() = Some(process.command(&[]).spawn().unwrap());
        let id = process.id().unwrap();
        let path = PathBuf::from(format!("/proc/{id}"));
        assert!(path.exists());
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let _process = process;
            panic!("a run goes wrong");
        }));
        assert!(ended.is_err() && !path.exists());
    }
}
