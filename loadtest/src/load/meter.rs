//! What processes use, and how busy their machine is: CPU time, memory, threads, open files.
//!
//! A [`Reading`] is all of it at one moment; what counts is the difference of two, a [`Spent`].
//! CPU time is the clock that the kernel keeps for a process: in nanoseconds, with the threads that
//! have ended, and behind by at most one tick of the scheduler (1 to 10 ms) for each thread that
//! runs at this moment. A window of a second is therefore good to about one percent for a process
//! with one busy thread, and one of ten seconds to a tenth of that.
//!
//! It takes about 50 us a process and reads nothing whose cost grows with connections, so it may be
//! called once a second without being seen in what it measures. It neither waits nor starts
//! anything. Linux only.

mod machine;
mod proc;

use std::fs;
use std::io;
use std::time::Duration;

use tokio::time::Instant;

pub use self::machine::Machine;

/// Levels of processes below one that is measured with its children: PostgreSQL has one.
const DEPTH_MAX: usize = 4;

/// Whom a [`Reading`] is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meter {
    /// The servers that are measured.
    pub servers: Vec<u32>,
    /// The processes that make the load, the one that reads included.
    pub workers: Vec<u32>,
    /// What the servers keep things in and hear each other over; each with the processes it starts.
    pub services: Vec<u32>,
}

/// What everyone had used at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// When that was.
    pub at: Instant,
    /// All servers together.
    pub servers: Usage,
    /// All that make the load.
    pub workers: Usage,
    /// Stores and buses.
    pub services: Usage,
    /// The machine, with everybody on it.
    pub host: Host,
}

/// What processes use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Since they were started.
    pub cpu: Duration,
    /// In memory, each with the pages it shares with others.
    pub resident_bytes: u64,
    /// Of these, what is no file: what grows with connections.
    pub anonymous_bytes: u64,
    /// Threads now.
    pub threads: u64,
    /// Open files now.
    pub files: u64,
}

/// The state of the machine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Host {
    /// CPU time of everybody since it was started, the kernel's own included.
    pub busy: Duration,
    /// Time in which a core had work and the machine below ran somebody else.
    pub stolen: Duration,
    /// Time in which there was nothing to do.
    pub idle: Duration,
    /// What the kernel holds in the buffers of TCP sockets: in whole pages, of everybody.
    pub tcp_bytes: u64,
}

/// What was used between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// How long that was.
    pub wall: Duration,
    /// By the servers,
    pub servers: Duration,
    /// by what makes the load,
    pub workers: Duration,
    /// by stores and buses,
    pub services: Duration,
    /// by everyone else, the kernel's own threads among them,
    pub others: Duration,
    /// and what the machine below gave to somebody else.
    pub stolen: Duration,
    /// All cores together.
    pub idle: Duration,
}

/// Why something is not known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It has ended, or was never there.
    #[error("process {pid} is not there to be measured")]
    Gone {
        /// The process.
        pid: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel shows it otherwise than it is known to.
    #[error("{path} has no {field}")]
    Unknown {
        /// The file.
        path: String,
        /// What was looked for in it.
        field: &'static str,
    },
    /// The file of the kernel cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl Meter {
    /// Reads all of it.
    ///
    /// # Errors
    /// When one of the processes is gone: what is measured must be there to the end.
    pub fn read(&self) -> Result<Reading, Error> {
        Ok(Reading {
            at: Instant::now(),
            servers: self.servers.iter().map(|pid| Usage::of(*pid)).sum::<Result<_, _>>()?,
            workers: self.workers.iter().map(|pid| Usage::of(*pid)).sum::<Result<_, _>>()?,
            services: self.services.iter().map(|pid| Usage::of_tree(*pid)).sum::<Result<_, _>>()?,
            host: Host::read()?,
        })
    }
}

impl Reading {
    /// What was used since another reading of the same processes.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Spent {
        let by = |now: &Usage, then: &Usage| now.cpu.saturating_sub(then.cpu);
        let servers = by(&self.servers, &earlier.servers);
        let workers = by(&self.workers, &earlier.workers);
        let services = by(&self.services, &earlier.services);
        let busy = self.host.busy.saturating_sub(earlier.host.busy);
        Spent {
            wall: self.at.saturating_duration_since(earlier.at),
            servers,
            workers,
            services,
            others: busy.saturating_sub(servers + workers + services),
            stolen: self.host.stolen.saturating_sub(earlier.host.stolen),
            idle: self.host.idle.saturating_sub(earlier.host.idle),
        }
    }
}

impl Spent {
    /// How many cores a time would have kept busy all along.
    #[must_use]
    pub fn cores(&self, of: Duration) -> f64 {
        of.as_secs_f64() / self.wall.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// The share of the machine, from 0 to 1, that neither the servers and their stores nor the
    /// load had: what other people's work and the machine below took.
    #[must_use]
    pub fn taken_by_others(&self) -> f64 {
        let ours = self.servers + self.workers + self.services;
        let theirs = self.others + self.stolen;
        let all = ours + theirs + self.idle;
        theirs.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE)
    }
}

impl Usage {
    /// What a process uses.
    ///
    /// # Errors
    /// [`Error::Gone`] when there is none.
    pub fn of(pid: u32) -> Result<Self, Error> {
        let path = format!("/proc/{pid}/status");
        let text = fs::read_to_string(&path).map_err(|source| Error::Gone { pid, source })?;
        let unknown = |field| Error::Unknown { path: path.clone(), field };
        let status = proc::Status::parse(&text).map_err(unknown)?;
        Ok(Self {
            cpu: cpu(pid)?,
            resident_bytes: status.resident_bytes,
            anonymous_bytes: status.anonymous_bytes,
            threads: status.threads,
            files: files(pid)?,
        })
    }

    /// What a process, those it has started and those they have started use. Of those that have
    /// ended it has the CPU time, in ticks of 10 ms, once their parent has noticed.
    ///
    /// # Errors
    /// [`Error::Gone`] when the process itself is not there; a child may end meanwhile.
    pub fn of_tree(pid: u32) -> Result<Self, Error> {
        let mut all = Self::of(pid)?;
        let mut level = vec![pid];
        for _ in 0..DEPTH_MAX {
            all.cpu += level.iter().copied().map(ended_children).sum::<Duration>();
            level = level.into_iter().flat_map(children).collect();
            let living = level.iter().filter_map(|pid| Self::of(*pid).ok());
            all = living.fold(all, |sum, one| sum + one);
        }
        Ok(all)
    }
}

impl Host {
    /// Reads how it stands.
    ///
    /// # Errors
    /// When the kernel does not show it, as within a sandbox.
    pub fn read() -> Result<Self, Error> {
        let times = of_kernel("/proc/stat", proc::Times::parse)?;
        let tcp_pages = of_kernel("/proc/net/sockstat", proc::tcp_pages)?;
        Ok(Self {
            busy: times.busy,
            stolen: times.stolen,
            idle: times.idle,
            tcp_bytes: tcp_pages * rustix::param::page_size() as u64,
        })
    }
}

impl std::ops::Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            cpu: self.cpu + other.cpu,
            resident_bytes: self.resident_bytes + other.resident_bytes,
            anonymous_bytes: self.anonymous_bytes + other.anonymous_bytes,
            threads: self.threads + other.threads,
            files: self.files + other.files,
        }
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum + one)
    }
}

/// The part of memory that a process would free if it ended: shared pages count as fractions.
/// The kernel walks all its pages for this, so it is for moments of rest.
///
/// # Errors
/// [`Error::Gone`] when there is no such process, or it is somebody else's.
pub fn proportional_bytes(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).map_err(|source| Error::Gone { pid, source })?;
    proc::kib(&text, "Pss:").map_err(|field| Error::Unknown { path, field })
}

/// The CPU clock of a process.
fn cpu(pid: u32) -> Result<Duration, Error> {
    let read = || {
        let pid = i32::try_from(pid).map_err(io::Error::other)?;
        let clock = nix::time::clock_getcpuclockid(nix::unistd::Pid::from_raw(pid))?;
        Ok(clock.now()?.into())
    };
    read().map_err(|source| Error::Gone { pid, source })
}

/// Open files of a process: since Linux 6.2 the directory says how many; before, they are counted.
fn files(pid: u32) -> Result<u64, Error> {
    let read = || {
        let path = format!("/proc/{pid}/fd");
        match fs::metadata(&path)?.len() {
            0 => Ok(fs::read_dir(&path)?.count() as u64),
            known => Ok(known),
        }
    };
    read().map_err(|source| Error::Gone { pid, source })
}

/// Processes that the threads of another have started; none when it is gone.
fn children(pid: u32) -> Vec<u32> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists =
        threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| proc::pids(&list)).collect()
}

/// CPU time of processes that one has started and seen end; zero when it is gone itself.
fn ended_children(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    proc::ended_children(&stat).unwrap_or_default()
}

/// Reads a file of the kernel that is there on every Linux.
fn of_kernel<T>(
    path: &'static str,
    parse: impl FnOnce(&str) -> Result<T, &'static str>,
) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Unreadable { path, source })?;
    parse(&text).map_err(|field| Error::Unknown { path: path.to_owned(), field })
}

#[cfg(test)]
mod tests;
