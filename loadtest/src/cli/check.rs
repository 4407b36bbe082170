//! `loadtest check`: what is broken, and how much of everything.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::{count, server, variables};
use crate::check::faults::Kind;
use crate::check::options::{Options, RedisKind, StoreKind};
use crate::check::run::run;
use crate::check::voice::Voice;

#[derive(Debug, clap::Args)]
pub(super) struct Check {
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

impl Check {
    /// Whether nothing was wrong.
    pub(super) async fn run(self) -> Result<bool> {
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
            variables: variables(&self.variables)?,
        })
    }
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
}
