//! The tuned multi-thread runtime, and what the machine under it offers.
//!
//! Responsible for: `WORKER_THREADS` and `BLOCKING_THREADS`, the runtime built from them, and the
//! open-file limit, raised to what the system allows before the first socket. Not for: anything
//! that runs on the runtime.

mod machine;

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::config::{Fallback, Kind, Reader, Section, Var};

pub use machine::Machine;

/// Two per core, as the guide has it: a worker held up by a page fault or a seal of a large frame
/// leaves its core to another.
const WORKERS_PER_CORE: usize = 2;

/// Deep enough for nested JSON and TLS, small enough for many threads.
const STACK_BYTES: usize = 2 << 20;

/// Ticks of a worker between two looks at the network. Tokio's 61 suits few busy tasks; with many
/// thousand sockets ready at once the poll itself is the cost.
const EVENT_INTERVAL: u32 = 1024;

/// Threads that run tasks.
pub static WORKER_THREADS: Var = Var::new(
    "WORKER_THREADS",
    Kind::Count { min: 2, max: 1024 },
    Fallback::Derived("2 x cores"),
    "Threads that run tasks.",
);

/// Threads for blocking calls.
pub static BLOCKING_THREADS: Var = Var::new(
    "BLOCKING_THREADS",
    Kind::Count { min: 1, max: 4096 },
    Fallback::Value("32"),
    "The most threads for blocking calls: files, profiles, name resolution.",
);

/// The variables this module reads.
pub const SECTION: Section =
    Section { title: "Runtime", variables: &[&WORKER_THREADS, &BLOCKING_THREADS] };

/// How the runtime is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Threads that run tasks, `WORKER_THREADS`; at least two.
    pub worker_threads: usize,
    /// The most threads for blocking calls, `BLOCKING_THREADS`.
    pub blocking_threads: usize,
}

/// The open-file limit as it stands for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenFiles {
    /// What is in force; `None` is no limit.
    pub soft: Option<u64>,
    /// What it may be raised to; `None` is no limit.
    pub hard: Option<u64>,
}

impl Config {
    /// Reads the variables of this module.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let derived = (WORKERS_PER_CORE * reader.machine().cores).max(2);
        Self {
            worker_threads: reader.get_or(&WORKER_THREADS, derived),
            blocking_threads: reader.get(&BLOCKING_THREADS),
        }
    }

    /// Builds the runtime.
    ///
    /// # Errors
    /// When the operating system refuses a thread or the event queue.
    pub fn build(&self) -> io::Result<Runtime> {
        Builder::new_multi_thread()
            .worker_threads(self.worker_threads)
            .max_blocking_threads(self.blocking_threads)
            .thread_stack_size(STACK_BYTES)
            .event_interval(EVENT_INTERVAL)
            .thread_name("worker")
            .enable_all()
            .build()
    }
}

impl OpenFiles {
    /// The limit as it stands.
    #[must_use]
    pub fn current() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        Self { soft: current, hard: maximum }
    }

    /// Raises the soft limit to the hard one and returns what is in force then.
    ///
    /// Every connection is an open file, and the usual soft limit of 1024 is there for programs
    /// that use `select`.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn raise() -> io::Result<Self> {
        let before = Self::current();
        setrlimit(Resource::Nofile, Rlimit { current: before.hard, maximum: before.hard })?;
        Ok(Self::current())
    }

    /// Whether this many files can be open at once.
    #[must_use]
    pub fn allows(self, files: u64) -> bool {
        self.soft.is_none_or(|limit| limit >= files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Source};

    #[test]
    fn workers_follow_the_cores_unless_set() {
        let table = [config::SECTION, SECTION];
        let source = Source::from_pairs([("BLOCKING_THREADS", "8")]);
        let config = Config::read(&mut Reader::new(&source, &table));
        assert_eq!(config, Config { worker_threads: 4, blocking_threads: 8 });
        let source = source.with("WORKER_THREADS", "3");
        assert_eq!(Config::read(&mut Reader::new(&source, &table)).worker_threads, 3);
    }

    #[test]
    fn the_runtime_runs_tasks() {
        let config = Config { worker_threads: 2, blocking_threads: 1 };
        let runtime = config.build().unwrap();
        assert_eq!(runtime.block_on(async { 6 * 7 }), 42);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let raised = OpenFiles::raise().unwrap();
        assert_eq!(raised.soft, raised.hard);
        assert!(raised.allows(16));
    }
}
