//! Servers of our own: with what they keep things in, what they hear each other over, and a
//! certificate if they speak TLS; all on loopback, on free ports, in a folder that goes with them.
//!
//! They are set as in production where that costs something: PostgreSQL writes through to the disk
//! before it answers, clients are pinged, figures are kept. Only the limits that keep single clients
//! at bay are far off, for thousands of them come from one address here. Order of ending: servers,
//! then the bus, then the store.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail, ensure};
use chassis::testing::{Postgres, Redis, RedisCluster, free_port, self_signed};
use reqwest::Client;
use tokio::time::{Instant, interval};

use super::ask::Figure;
use super::{EPHEMERAL, Processes, RECOVERABLE, Trust, ask};
use crate::check::options::{RedisKind, StoreKind};
use crate::check::stage::Broker;
use crate::process::{LOOK, Process, START_MAX};

/// Signs every token. The servers are made for the run and gone with it.
pub(super) const SECRET: &str = "a secret that only the servers of a load test know";

/// More servers than this share a machine in no measurement.
pub(super) const NODES_MAX: usize = 16;

/// Connections of one node to PostgreSQL: a batch of messages takes one, and on a machine that also
/// runs the load more at a time only wait for each other.
const POOL_SIZE: usize = 16;

/// PostgreSQL as it is run where messages matter: an answer means that it is on the disk. Its
/// connections are those of all nodes, one more of each that looks after it, and some to look with.
const DURABLE: [&str; 5] = [
    "fsync = on",
    "synchronous_commit = on",
    "shared_buffers = 256MB",
    "max_wal_size = 2GB",
    "max_connections = 300",
];

/// Publications that a channel of [`RECOVERABLE`] keeps.
const HISTORY_SIZE: usize = 100;

/// Limits that keep single clients at bay, as far off as the servers let them be: thousands of
/// clients come from one address here, and one user speaks for a whole room.
const FAR_LIMITS: [(&str, &str); 5] = [
    ("RATE_LIMIT_PER_MINUTE", "10000000"),
    ("COMMAND_RATE", "100000"),
    ("MAX_MESSAGE_RATE", "100000"),
    ("MAX_CONNECTIONS", "1000000"),
    ("MAX_CONNECTIONS_PER_USER", "100000"),
];

/// What is started.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The program of the servers.
    pub server: PathBuf,
    /// How many of them.
    pub nodes: usize,
    /// Where rooms are kept.
    pub store: StoreKind,
    /// What they hear each other over.
    pub bus: RedisKind,
    /// How clients come in.
    pub door: Door,
    /// What the servers log.
    pub log: String,
    /// More variables of their environment.
    pub variables: Vec<(String, String)>,
}

/// How clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Plain TCP.
    Plain,
    /// TLS 1.3.
    Tls,
}

/// What was started. Fields are in the order of ending.
#[derive(Debug)]
pub(super) struct Own {
    nodes: Vec<Node>,
    broker: Option<Broker>,
    postgres: Option<Postgres>,
    trust: Option<Trust>,
    client: Client,
    folder: Option<tempfile::TempDir>,
}

#[derive(Debug)]
struct Node {
    process: Process,
    /// Where its figures are.
    metrics: u16,
}

impl Own {
    /// Starts everything, and waits until the servers are ready.
    pub(super) async fn start(wanted: &Wanted) -> Result<Self> {
        wanted.check()?;
        let folder = tempfile::Builder::new().prefix("veza-load-").tempdir()?;
        let postgres = match wanted.store {
            StoreKind::Postgres => Some(Postgres::with(&DURABLE).await),
            StoreKind::Sqlite => None,
        };
        let broker = match wanted.bus {
            RedisKind::None => None,
            RedisKind::Single => Some(Broker::Single(Redis::start().await)),
            RedisKind::Cluster => Some(Broker::Cluster(RedisCluster::start().await)),
        };
        let tls = (wanted.door == Door::Tls).then(|| self_signed(folder.path()));
        let trust = tls.map(|made| Trust {
            name: "localhost".to_owned(),
            certificates: vec![made.der],
            file: made.cert,
        });
        let client = ask::client(trust.as_ref())?;
        let folder = Some(folder);
        let mut own = Self { nodes: Vec::new(), broker, postgres, trust, client, folder };
        for number in 0..wanted.nodes {
            let node = own.node(number, wanted)?;
            own.nodes.push(node);
        }
        if let Err(error) = own.start_nodes().await {
            bail!("{error:#}; logs are in {}", own.keep().display());
        }
        Ok(own)
    }

    /// Whom clients trust.
    pub(super) fn trust(&self) -> Option<Trust> {
        self.trust.clone()
    }

    /// The servers.
    pub(super) fn nodes(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().map(|node| &node.process)
    }

    pub(super) fn processes(&self) -> Processes {
        let services = self.broker.iter().flat_map(Broker::ids);
        let services = services.chain(self.postgres.as_ref().and_then(Postgres::id));
        Processes {
            servers: self.nodes().filter_map(Process::id).collect(),
            services: services.collect(),
        }
    }

    /// A figure, all nodes together.
    pub(super) async fn figure(&self, name: &str) -> Result<Figure> {
        let mut sum = Figure::new();
        for node in &self.nodes {
            let url = self.url(node.metrics, "/metrics");
            for (labels, value) in ask::figure(&ask::get(&self.client, &url).await?, name) {
                *sum.entry(labels).or_default() += value;
            }
        }
        Ok(sum)
    }

    /// Waits until a node would be sent clients.
    pub(super) async fn until_ready(&self, number: usize) -> Result<()> {
        let node = &self.nodes.get(number).context("there is no such node")?.process;
        let url = self.url(node.address().port(), "/health/ready");
        let (begun, mut looks) = (Instant::now(), interval(LOOK));
        while let Err(error) = ask::get(&self.client, &url).await {
            if let Some(complaint) = node.ended() {
                bail!("{complaint}");
            }
            if begun.elapsed() > START_MAX {
                return Err(error.context(format!("node {number} is not ready in time")));
            }
            looks.tick().await;
        }
        Ok(())
    }

    /// Ends the servers and leaves their logs where they are.
    pub(super) fn keep(mut self) -> PathBuf {
        self.folder.take().map(tempfile::TempDir::keep).unwrap_or_default()
    }

    /// One after the other: the first makes the tables.
    async fn start_nodes(&self) -> Result<()> {
        for (number, node) in self.nodes.iter().enumerate() {
            node.process.start().await?;
            self.until_ready(number).await?;
        }
        Ok(())
    }

    fn node(&self, number: usize, wanted: &Wanted) -> Result<Node> {
        let base = self.folder.as_ref().expect("the folder is there until it is kept").path();
        let folder = base.join(format!("node-{number}"));
        fs::create_dir(&folder).context("a folder for a node")?;
        let channels = folder.join("channels.toml");
        fs::write(&channels, channels_file())?;
        let mut process = Process::new(format!("node {number}"), wanted.server.clone(), folder);
        let metrics = free_port();
        process.set("PROMETHEUS_PORT", metrics.to_string());
        process.set("CHANNELS_FILE", channels.to_string_lossy());
        process.set("JWT_SECRET", SECRET);
        process.set("RUST_LOG", wanted.log.as_str());
        process.set("DATABASE_POOL_SIZE", POOL_SIZE.to_string());
        for (name, value) in FAR_LIMITS {
            process.set(name, value);
        }
        if let Some(postgres) = &self.postgres {
            process.set("DATABASE_URL", postgres.url());
        }
        if let Some(broker) = &self.broker {
            process.set("REDIS_URL", broker.url());
        }
        if self.trust.is_some() {
            let path = |name: &str| base.join(name).to_string_lossy().into_owned();
            process.set("TLS_CERT_FILE", path("cert.pem"));
            process.set("TLS_KEY_FILE", path("key.pem"));
        }
        for (name, value) in &wanted.variables {
            process.set(name, value);
        }
        Ok(Node { process, metrics })
    }

    fn url(&self, port: u16, path: &str) -> String {
        let scheme = if self.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{port}{path}")
    }
}

impl Wanted {
    fn check(&self) -> Result<()> {
        let nodes = self.nodes;
        ensure!((1..=NODES_MAX).contains(&nodes), "{nodes} servers: it takes 1 to {NODES_MAX}");
        if nodes > 1 {
            ensure!(self.store == StoreKind::Postgres, "a file serves one server only");
            ensure!(self.bus != RedisKind::None, "several servers need a Redis");
        }
        Ok(())
    }
}

/// A namespace that keeps nothing, and one with all there is.
fn channels_file() -> String {
    format!(
        "[namespaces.{EPHEMERAL}]\nallow_subscribe = true\nallow_publish = true\n\n\
         [namespaces.{RECOVERABLE}]\nallow_subscribe = true\nallow_publish = true\n\
         allow_history = true\nallow_presence = true\npresence = true\n\
         history_size = {HISTORY_SIZE}\nhistory_ttl = \"10m\"\nforce_recovery = true\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(nodes: usize, store: StoreKind, bus: RedisKind) -> Wanted {
        let (log, door) = ("warn".to_owned(), Door::Plain);
        Wanted { server: "none".into(), nodes, store, bus, door, log, variables: Vec::new() }
    }

    #[test]
    fn several_servers_share_a_store_and_a_bus() {
        let alone = wanted(1, StoreKind::Sqlite, RedisKind::None);
        assert!(alone.check().is_ok());
        for (nodes, store, bus) in [
            (0, StoreKind::Sqlite, RedisKind::None),
            (2, StoreKind::Sqlite, RedisKind::Single),
            (2, StoreKind::Postgres, RedisKind::None),
            (NODES_MAX + 1, StoreKind::Postgres, RedisKind::Single),
        ] {
            assert!(wanted(nodes, store, bus).check().is_err(), "{nodes} {store:?} {bus:?}");
        }
        assert!(wanted(2, StoreKind::Postgres, RedisKind::Single).check().is_ok());
    }

    #[tokio::test]
    async fn a_server_that_does_not_start_is_told_of_with_the_place_of_its_log() {
        let mut wanted = wanted(1, StoreKind::Sqlite, RedisKind::None);
        wanted.server = "/bin/false".into();
        let error = format!("{:#}", Own::start(&wanted).await.unwrap_err());
        let (_, folder) = error.split_once("logs are in ").unwrap();
        assert!(error.contains("ended by itself") && fs::exists(folder).unwrap(), "{error}");
        fs::remove_dir_all(folder).unwrap();
    }
}
