//! Arguments, and the exit code: 0 when nothing is wrong, 1 when something is, 2 when a run could
//! not be made.

#![expect(clippy::print_stderr, reason = "a program that cannot go on says so")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use crate::faults::Kind;
use crate::options::{Options, RedisKind, StoreKind};
use crate::run::run;
use crate::voice::Voice;

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

#[derive(Debug, clap::Args)]
struct Check {
    /// The chat-server program [default: the one beside this one].
    #[arg(long, value_name = "PATH")]
    server: Option<PathBuf>,
    /// Servers.
    #[arg(long, default_value_t = 3, value_parser = count(1, 16))]
    nodes: u64,
    /// Clients, over all servers.
    #[arg(long, default_value_t = 900, value_parser = count(1, 20_000))]
    clients: u64,
    /// Rooms. Each client is in three of them.
    #[arg(long, default_value_t = 30, value_parser = count(0, 10_000))]
    rooms: u64,
    /// Channels without a log. Each client is in one of them.
    #[arg(long, default_value_t = 10, value_parser = count(0, 10_000))]
    plain: u64,
    /// Messages, in all.
    #[arg(long, default_value_t = 100_000, value_parser = count(1, 10_000_000))]
    messages: u64,
    /// What decides the faults and when they come [default: by chance, and printed].
    #[arg(long)]
    seed: Option<u64>,
    /// Faults, separated by commas: all, none, redis, or the names below.
    ///
    /// kill, stop and drain are for a node; redis-restart, redis-flush and redis-pause, together
    /// redis; postgres; cut (clients' connections); partition (a node and Redis); clock (of a
    /// node); redis-away=SECONDS; master (of a cluster).
    #[arg(long, default_value = "all", value_name = "FAULTS")]
    faults: String,
    /// How often each of them happens.
    #[arg(long, default_value_t = 2, value_parser = count(1, 1_000))]
    rounds: u64,
    /// What the servers hear each other over.
    #[arg(long, value_enum, default_value = "single")]
    redis: RedisKind,
    /// Where rooms are kept.
    #[arg(long, value_enum, default_value = "postgres")]
    store: StoreKind,
    /// Seconds after which unanswered messages count as lost.
    #[arg(long, default_value_t = 900, value_parser = count(1, 86_400))]
    time_max: u64,
    /// A file for the report as JSON.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// A variable of the servers' environment, as NAME=VALUE. May be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// What the servers log, as `RUST_LOG`.
    #[arg(long, default_value = "warn")]
    log: String,
}

/// A whole number within bounds.
fn count(least: u64, most: u64) -> clap::builder::RangedU64ValueParser {
    clap::builder::RangedU64ValueParser::new().range(least..=most)
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

impl Check {
    /// Whether nothing was wrong.
    async fn run(self) -> Result<bool> {
        let (options, file) = (self.options()?, self.report);
        let report = Box::pin(run(&options, Voice::new())).await?;
        if let Some(file) = file {
            let text = serde_json::to_string_pretty(&report.to_json())?;
            fs::write(&file, text).with_context(|| format!("{}", file.display()))?;
        }
        Ok(report.is_good())
    }

    fn options(&self) -> Result<Options> {
        let small = |count: u64| usize::try_from(count).context("a count is too large");
        let (faults, away) = faults(&self.faults)?;
        let variable = |text: &String| {
            let (name, value) = text.split_once('=').context("--set takes NAME=VALUE")?;
            Ok((name.to_owned(), value.to_owned()))
        };
        Ok(Options {
            server: server(self.server.as_deref())?,
            nodes: small(self.nodes)?,
            clients: small(self.clients)?,
            rooms: small(self.rooms)?,
            plain: small(self.plain)?,
            messages: small(self.messages)?,
            seed: self.seed.unwrap_or_else(rand::random),
            faults,
            rounds: small(self.rounds)?,
            away,
            redis: self.redis,
            store: self.store,
            time_max: Duration::from_secs(self.time_max),
            log: self.log.clone(),
            variables: self.variables.iter().map(variable).collect::<Result<_>>()?,
        })
    }
}

/// The program of the servers.
fn server(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()?.with_file_name("chat-server"),
    };
    path.canonicalize().with_context(|| format!("no server at {}: see --server", path.display()))
}

/// The faults that a list names, and how long Redis is away.
fn faults(list: &str) -> Result<(Vec<Kind>, Duration)> {
    let mut away = Duration::from_secs(60);
    let mut kinds = Vec::new();
    for word in list.split(',').map(str::trim) {
        match word {
            "all" => kinds.extend(Kind::ALL),
            "none" => {}
            "redis" => {
                kinds.extend([Kind::RedisRestart, Kind::RedisFlush, Kind::RedisPause]);
            }
            _ => {
                let (name, seconds) = word.split_once('=').unwrap_or((word, "60"));
                let Ok(kind) = <Kind as clap::ValueEnum>::from_str(name, true) else {
                    bail!("{name} is no fault: see --help");
                };
                away = Duration::from_secs(seconds.parse().context("seconds of an absence")?);
                kinds.push(kind);
            }
        }
    }
    Ok((kinds, away))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_one_by_one_or_together() {
        assert_eq!(faults("all").unwrap().0, Kind::ALL);
        assert_eq!(faults("none").unwrap().0, []);
        assert_eq!(faults("kill, redis").unwrap().0.len(), 4);
        let (kinds, away) = faults("redis-away=7").unwrap();
        assert_eq!((kinds, away), (vec![Kind::RedisAway], Duration::from_secs(7)));
        assert!(faults("flood").is_err());
    }

    #[test]
    fn the_arguments_are_sound() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }
}
