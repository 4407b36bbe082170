//! What a run plays on: a store, a Redis, and nodes that reach it each through a proxy of their own.
//!
//! Everything is started here, on loopback and free ports, and goes with the [`Stage`]. The servers
//! are processes, as for people: they can be killed, stopped and set to another clock. Clients reach
//! a node through its door, a proxy that cuts in the middle of frames when told to.

mod broker;
mod clock;
mod node;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use chassis::testing::{FaultProxy, Postgres, Redis, RedisCluster};

pub use self::broker::Broker;
pub use self::clock::Clock;
pub use self::node::Node;
use crate::check::faults::Kind;
use crate::check::options::{Options, RedisKind, StoreKind};
use crate::check::world::SECRET;

/// The most connections of one node to PostgreSQL; the server of a run takes forty in all.
const POOL_SIZE: usize = 8;

/// What a plain channel of a run keeps, and how long: longer than a run, so that who comes back is
/// always recovered unless Redis lost it.
pub const HISTORY_SIZE: usize = 500;

/// Everything that runs.
#[derive(Debug)]
pub struct Stage {
    /// The servers.
    pub nodes: Vec<Node>,
    /// What they hear each other over.
    pub broker: Option<Broker>,
    /// Where rooms are, unless in a file.
    pub postgres: Option<Postgres>,
    /// Of one node that can be set.
    pub clock: Option<Clock>,
    folder: Option<tempfile::TempDir>,
}

impl Stage {
    /// Starts everything and waits until it answers.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn start(options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("veza-loadtest-").tempdir()?;
        let postgres = match options.store {
            StoreKind::Postgres => Some(Postgres::start().await),
            StoreKind::Sqlite if options.nodes > 1 => bail!("a file serves one node only"),
            StoreKind::Sqlite => None,
        };
        let broker = match options.redis {
            RedisKind::None if options.nodes > 1 => bail!("several nodes need a Redis"),
            RedisKind::None => None,
            RedisKind::Single => Some(Broker::Single(Redis::start().await)),
            RedisKind::Cluster => Some(Broker::Cluster(RedisCluster::start().await)),
        };
        let clock = options.faults.contains(&Kind::Clock) && Clock::can_be_made();
        let clock = clock.then(|| Clock::make(folder.path())).transpose()?;
        let mut stage = Self { nodes: Vec::new(), broker, postgres, clock, folder: Some(folder) };
        for number in 0..options.nodes {
            let node = stage.node(number, options).await?;
            if let Err(error) = node.process.start().await {
                bail!("{error:#}; its log is in {}", stage.keep().display());
            }
            stage.nodes.push(node);
        }
        Ok(stage)
    }

    /// Where clients connect.
    #[must_use]
    pub fn doors(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.door.address()).collect()
    }

    /// What the servers complained of so loudly that no run passes with it.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        self.nodes.iter().flat_map(|node| node.process.complaints()).collect()
    }

    /// Ends the servers and leaves their logs where they are.
    #[must_use]
    pub fn keep(mut self) -> PathBuf {
        self.folder.take().map(tempfile::TempDir::keep).unwrap_or_default()
    }

    fn folder(&self) -> &Path {
        self.folder.as_ref().expect("the folder is there until the stage is kept").path()
    }

    async fn node(&self, number: usize, options: &Options) -> Result<Node> {
        let folder = self.folder().join(format!("node-{number}"));
        fs::create_dir(&folder).context("a folder for a node")?;
        let channels = folder.join("channels.toml");
        fs::write(&channels, channels_file())?;
        let mut node = Node::new(number, options.server.clone(), folder).await;
        let process = &mut node.process;
        process.set("CHANNELS_FILE", channels.to_string_lossy());
        process.set("JWT_SECRET", SECRET);
        process.set("RUST_LOG", options.log.as_str());
        process.set("DATABASE_POOL_SIZE", POOL_SIZE.to_string());
        // Everyone comes from one address, and the judge asks more than a person does.
        process.set("RATE_LIMIT_PER_MINUTE", "10000000");
        process.set("COMMAND_RATE", "100000");
        // A node that stands still is noticed by its clients, as behind a proxy.
        process.set("PING_INTERVAL_MS", "5000");
        process.set("PONG_TIMEOUT_MS", "4000");
        if let Some(postgres) = &self.postgres {
            process.set("DATABASE_URL", postgres.url());
        }
        match &self.broker {
            None => {}
            Some(Broker::Single(redis)) => {
                let wire = FaultProxy::start(redis.address()).await;
                process.set("REDIS_URL", redis.url_at(wire.address()));
                node.wire = Some(wire);
            }
            Some(cluster) => process.set("REDIS_URL", cluster.url()),
        }
        // The last of several has the clock that can be set: the others show what is right.
        if let Some(clock) = self.clock.as_ref().filter(|_| number + 1 == options.nodes) {
            clock.variables().into_iter().for_each(|(name, value)| process.set(name, value));
        }
        for (name, value) in &options.variables {
            process.set(name, value);
        }
        Ok(node)
    }
}

fn channels_file() -> String {
    format!(
        "[namespaces.plain]\nallow_subscribe = true\nallow_publish = true\nallow_history = true\n\
         allow_presence = true\npresence = true\nhistory_size = {HISTORY_SIZE}\n\
         history_ttl = \"1h\"\nforce_recovery = true\n"
    )
}
