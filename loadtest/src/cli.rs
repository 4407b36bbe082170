//! Arguments, and the exit code: 0 when nothing is wrong, 1 when something is, 2 when a run could
//! not be made.

#![expect(clippy::print_stderr, reason = "a program that cannot go on says so")]

mod check;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

use self::check::Check;

/// Threads of the clients: they share the machine with the servers.
const WORKERS: usize = 2;

/// Proves on running chat servers that nothing is lost, and measures them.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Break what can be broken under load, and check that nothing is lost.
    ///
    /// Starts its own PostgreSQL, Redis and servers on loopback, puts clients on them by the real
    /// protocol, carries out a schedule of faults, and compares what everyone sent, was told and
    /// saw. Ends with 0 when nothing is wrong, 1 when something is, 2 when it could not be run.
    Check(Box<Check>),
}

/// Runs the program and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let Command::Check(check) = Arguments::parse().command;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("no runtime");
    let ended = runtime.and_then(|runtime| runtime.block_on(check.run()));
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// A whole number within bounds.
fn count(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(least..=most)
}

/// The program of the servers.
fn server(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("chat-server"),
    };
    path.canonicalize().with_context(|| format!("no server at {}: see --server", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
