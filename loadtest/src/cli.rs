//! Arguments, and the exit code: 0 when nothing is wrong, 1 when something is, 2 when a run could
//! not be made.

#![expect(clippy::print_stderr, reason = "a program that cannot go on says so")]

mod check;
mod cluster;
mod compare;
mod floor;
mod held;
mod load;
mod raw;
mod rest;
mod soak;
mod storm;
mod target;
mod verdict;
mod worker;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use self::check::Check;
use self::cluster::Cluster;
use self::compare::Compare;
use self::floor::Floor;
use self::load::{Connect, Fanout, Saturate};
use self::raw::Raw;
use self::rest::Rest;
use self::soak::Soak;
use self::storm::Storm;
use self::verdict::Verdict;
use crate::process::interrupted;

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
    /// Say of each target whether it holds, by the reports of runs.
    ///
    /// Reads every JSON file of a folder. Ends with 0 when nothing that was measured fails.
    Verdict(Verdict),
    /// Idle connections: handshakes a second, and the memory and CPU of each.
    Connect(Box<Connect>),
    /// Rooms with speakers at a fixed rate: how long messages take, and what a delivery costs.
    Fanout(Box<Fanout>),
    /// As many messages as go: deliveries a second, and what each costs under pressure.
    Saturate(Box<Saturate>),
    /// Measure the same fan-out beside servers of others, and beside a loop that only sends.
    ///
    /// Starts all of them on loopback, goes through loads that gather and loads that do not, and
    /// prints medians of interleaved runs. `ops/dev/peers.sh` installs the others; who is absent
    /// has a blank. Ends with 0 when nobody lost anything.
    Compare(Box<Compare>),
    /// What a delivery costs when nothing is done but `send`: the unit of every other cost.
    Floor(Box<Floor>),
    /// Everybody goes at once, comes back within seconds, and is told what they missed.
    Storm(Box<Storm>),
    /// The same load for minutes, to see what grows: memory, open files, latency.
    Soak(Box<Soak>),
    /// Many connections over several servers that are joined by PostgreSQL and Redis.
    Cluster(Box<Cluster>),
    /// HTTP requests at a fixed rate: how long they take, and what each costs.
    Rest(Box<Rest>),
    /// The floor of a comparison.
    #[command(hide = true)]
    Raw(Raw),
    /// One process of those that make a load.
    #[command(hide = true)]
    Worker,
}

/// Runs the program and gives its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let run: Pin<Box<dyn Future<Output = Result<bool>>>> = match Arguments::parse().command {
        Command::Check(check) => Box::pin(check.run()),
        Command::Connect(connect) => Box::pin(connect.run()),
        Command::Fanout(fanout) => Box::pin(fanout.run()),
        Command::Saturate(saturate) => Box::pin(saturate.run()),
        Command::Compare(compare) => Box::pin(compare.run()),
        Command::Floor(floor) => Box::pin(floor.run()),
        Command::Storm(storm) => Box::pin(storm.run()),
        Command::Soak(soak) => Box::pin(soak.run()),
        Command::Cluster(cluster) => Box::pin(cluster.run()),
        Command::Rest(rest) => Box::pin(rest.run()),
        Command::Raw(raw) => return raw.run(),
        Command::Worker => return ended(worker::run()),
        Command::Verdict(verdict) => return ended(verdict.run()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .context("no runtime");
    ended(runtime.and_then(|runtime| runtime.block_on(unless_interrupted(run))))
}

/// What a run comes to: whether it was good, or why there was none.
fn ended(run: Result<bool>) -> ExitCode {
    match run {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Runs until somebody wants it to end; whatever was started is ended then too.
async fn unless_interrupted(run: impl Future<Output = Result<bool>>) -> Result<bool> {
    tokio::select! {
        ended = run => ended,
        heard = interrupted() => {
            heard?;
            bail!("interrupted")
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

/// Variables of an environment, each given as NAME=VALUE.
fn variables(given: &[String]) -> Result<Vec<(String, String)>> {
    let variable = |text: &String| {
        let (name, value) = text.split_once('=').context("--set takes NAME=VALUE")?;
        Ok((name.to_owned(), value.to_owned()))
    };
    given.iter().map(variable).collect()
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
