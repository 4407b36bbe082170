//! What a run is made of.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::check::faults::Kind;

/// What a run is made of. The defaults are the full check.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program of the servers.
    pub server: PathBuf,
    /// How many of them.
    pub nodes: usize,
    /// How many clients, over all nodes.
    pub clients: usize,
    /// How many rooms, and channels without a log.
    pub rooms: usize,
    pub plain: usize,
    /// How many messages are said in all.
    pub messages: usize,
    /// What decides the schedule of faults.
    pub seed: u64,
    /// What happens,
    pub faults: Vec<Kind>,
    /// and how often each.
    pub rounds: usize,
    /// How long Redis is away, where that is a fault.
    pub away: Duration,
    /// What nodes hear each other over.
    pub redis: RedisKind,
    /// Where rooms are kept.
    pub store: StoreKind,
    /// Longest that is waited for all messages to be acknowledged.
    pub time_max: Duration,
    /// What the servers log.
    pub log: String,
    /// More variables of the servers' environment.
    pub variables: Vec<(String, String)>,
}

/// What nodes hear each other over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum RedisKind {
    /// Nothing: there is one node.
    None,
    /// One server.
    Single,
    /// Three masters.
    Cluster,
}

/// Where rooms are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StoreKind {
    /// A server of the run's own.
    Postgres,
    /// A file, for one node.
    Sqlite,
}

impl Options {
    /// Whether channels without a log begin anew after such a fault.
    #[must_use]
    pub fn loses(&self, kind: Kind) -> bool {
        match self.redis {
            RedisKind::None => matches!(kind, Kind::Kill | Kind::Drain),
            RedisKind::Single | RedisKind::Cluster => kind.loses(),
        }
    }

    /// The faults that such a stage does not have, and why.
    #[must_use]
    pub fn impossible(&self) -> Vec<(Kind, &'static str)> {
        let of_redis = [
            Kind::RedisRestart,
            Kind::RedisFlush,
            Kind::RedisPause,
            Kind::RedisAway,
            Kind::Partition,
        ];
        let mut impossible = Vec::new();
        if self.store != StoreKind::Postgres {
            impossible.push((Kind::Postgres, "rooms are in a file"));
        }
        if self.redis != RedisKind::Cluster {
            impossible.push((Kind::Master, "the Redis is no cluster"));
        }
        match self.redis {
            RedisKind::None => {
                impossible.extend(of_redis.map(|kind| (kind, "there is no Redis")));
            }
            RedisKind::Cluster => {
                let why = "nodes reach the masters of a cluster without a proxy";
                impossible.push((Kind::Partition, why));
            }
            RedisKind::Single => {}
        }
        impossible
    }

    /// The full check of this program.
    #[must_use]
    pub fn full(server: PathBuf, seed: u64) -> Self {
        Self {
            server,
            nodes: 3,
            clients: 900,
            rooms: 30,
            plain: 10,
            messages: 100_000,
            seed,
            faults: Kind::ALL.to_vec(),
            rounds: 2,
            away: Duration::from_secs(60),
            redis: RedisKind::Single,
            store: StoreKind::Postgres,
            time_max: Duration::from_secs(900),
            log: "warn".to_owned(),
            variables: Vec::new(),
        }
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, clients, rooms, plain, messages, .. } = self;
        write!(
            f,
            "{nodes} nodes, {clients} clients, {rooms} rooms, {plain} plain channels, \
             {messages} messages"
        )
    }
}
