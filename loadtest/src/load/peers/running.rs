//! A peer that runs, until the value goes.
//!
//! A peer may be several processes: nginx has a master and workers. All of them end with the value:
//! the first is asked to, and ends those it started; whoever is left after a moment is killed, as
//! there is nothing to keep. Even a load tester that is killed leaves nobody behind: those whose
//! program is ours watch their standard input, a pipe that nobody writes to, and the others are
//! started by [`mortal`].

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, interval, timeout};

use crate::load::dialect::{Speech, plain};
use crate::process::{LOOK, START_MAX};

/// Longest one question may wait for an answer before it is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long one that is asked to end may take: it has no clients any more.
const END_MAX: Timespec = Timespec { tv_sec: 2, tv_nsec: 0 };

/// The last lines of a log that are shown when a server did not start.
const LINES_SHOWN: usize = 5;

/// How one is started.
#[derive(Debug)]
pub struct Start {
    /// The program with its arguments.
    pub command: Command,
    /// Where it is told to listen, on loopback.
    pub port: u16,
    /// How one speaks to it.
    pub speech: Speech,
}

/// A server that runs.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// How one speaks to it.
    pub speech: Speech,
    child: Child,
    folder: TempDir,
}

impl Running {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it ends or does not answer in time.
    pub async fn start(start: Start, folder: TempDir) -> Result<Self> {
        let Start { mut command, port, speech } = start;
        let log = File::create(folder.path().join("log"))?;
        command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        let child = command.current_dir(folder.path()).spawn();
        let child = child.with_context(|| format!("{}", command.get_program().display()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let mut running = Self { address, speech, child, folder };
        running.answers().await?;
        Ok(running)
    }

    /// All its processes: the one that was started, and those that it started.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let mut family = vec![self.child.id()];
        let all = processes()?;
        let mut next = 0;
        while let Some(parent) = family.get(next).copied() {
            family.extend(all.iter().filter(|process| process.1 == parent).map(|child| child.0));
            next += 1;
        }
        Ok(family)
    }

    async fn answers(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut looks = interval(LOOK);
        while !matches!(timeout(ANSWER_MAX, ask(self.address)).await, Ok(Ok(()))) {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}: {}", self.complaint());
            }
            if begun.elapsed() > START_MAX {
                bail!("it does not answer after {START_MAX:?}: {}", self.complaint());
            }
            looks.tick().await;
        }
        Ok(())
    }

    fn complaint(&self) -> String {
        let logs =
            ["log", "error.log"].map(|name| fs::read_to_string(self.folder.path().join(name)));
        let text = logs.into_iter().flatten().collect::<String>();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LINES_SHOWN)..).unwrap_or(&lines);
        last.join("\n")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Its children are asked for first: without it they are nobody's. It goes first, so that it
        // does not start others in their place.
        let family = self.pids().unwrap_or_default();
        // One that ended by itself cannot be asked, and one that cannot be waited for is killed.
        ask_to_end(&self.child).ok();
        drop(self.child.kill());
        drop(self.child.wait());
        for pid in family.into_iter().skip(1) {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
            // One that has ended by itself is what is wanted.
            pid.map(|pid| kill_process(pid, Signal::KILL));
        }
    }
}

/// Asks a process to end and waits until it does or its time is over.
fn ask_to_end(child: &Child) -> rustix::io::Result<()> {
    let id = Pid::from_child(child);
    let process = pidfd_open(id, PidfdFlags::empty())?;
    kill_process(id, Signal::TERM)?;
    poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&END_MAX))?;
    Ok(())
}

/// A program that the kernel tells to end when whoever starts it is gone. `setpriv` is part of
/// util-linux, which is everywhere.
pub(super) fn mortal(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", program]);
    command
}

/// The dialect of the servers where the path names the room.
pub(super) fn rooms() -> Speech {
    Speech::Plain(plain::Settings { path: "/room/".to_owned() })
}

/// Asks for something that is no WebSocket: whatever the answer is, the server is there.
async fn ask(address: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    stream.read_u8().await.context("no answer")?;
    Ok(())
}

/// Every process of the machine and its parent.
fn processes() -> Result<Vec<(u32, u32)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else { continue };
        // A process may end between the list and the look at it.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // The name in parentheses may hold anything; behind it stand a state and the parent.
        let behind = stat.rsplit(')').next().unwrap_or_default();
        if let Some(parent) = behind.split_whitespace().nth(1).and_then(|id| id.parse().ok()) {
            found.push((pid, parent));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use chassis::testing::deadline;

    use super::*;

    /// A shell that starts another process and listens on nothing.
    fn family(folder: &TempDir) -> Running {
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo begun; wait"]).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut line).unwrap();
        let folder = tempfile::tempdir_in(folder.path()).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        Running { address, speech: rooms(), child, folder }
    }

    /// Waits until all of them have ended. It is the kernel's turn: a killed process still has to
    /// run to its end.
    async fn ended(pids: &[u32]) {
        let alive = |pid: &u32| {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Whoever adopted it may not have noticed its end yet.
            !state.is_empty() && !state.contains(") Z ")
        };
        deadline(async {
            while pids.iter().any(alive) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn what_a_server_started_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let server = family(&folder);
        let pids = server.pids().unwrap();
        assert_eq!(pids.len(), 2);
        drop(server);
        ended(&pids).await;
    }

    #[tokio::test]
    async fn a_mortal_program_ends_when_whoever_started_it_is_killed() {
        let mortal = mortal("sleep");
        let words = std::iter::once(mortal.get_program()).chain(mortal.get_args());
        let words: Vec<&str> = words.map(|word| word.to_str().unwrap()).collect();
        let script = format!("{} 60 & echo $!; wait", words.join(" "));
        let mut shell = Command::new("sh");
        let mut shell = shell.args(["-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let said = shell.stdout.take().unwrap();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(said), &mut line).unwrap();
        let pid: u32 = line.trim().parse().unwrap();
        deadline(async {
            while fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim() != "sleep" {
                tokio::task::yield_now().await;
            }
        })
        .await;
        shell.kill().unwrap();
        shell.wait().unwrap();
        ended(&[pid]).await;
    }

    #[tokio::test]
    async fn a_server_that_ends_says_what_it_complained_of() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such module >&2; exit 3"]);
        let start = Start { command, port: chassis::testing::free_port(), speech: rooms() };
        let ended = Running::start(start, tempfile::tempdir().unwrap()).await;
        let said = format!("{:#}", ended.unwrap_err());
        assert!(said.contains("exit status: 3") && said.contains("no such module"), "{said}");
    }
}
