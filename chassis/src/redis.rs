//! Redis, as one server, as a cluster, or as the server that Sentinels name: pools of connections
//! for questions, connections of one's own for what is published and heard.
//!
//! ```text
//! Location   where it is, out of a URL
//! Masters    which server has which key, asked for when it is not known or seems wrong
//! Redis      query, invoke, fetch: a question goes to the server that has its key
//! Mouth, Ear one server each: what is published there, what is heard there
//! ```
//! Nothing is connected before it is used. A question is asked again only where the first server
//! says that another has the key; otherwise whoever asks is answered or refused within the timeout,
//! and decides. Secrets stay in here: no error, debug form or log line of this module has them.
//!
//! The cluster client of the redis crate is not used: while it looks for a server that is silent,
//! questions to all the others wait too.

mod ear;
mod failure;
mod hello;
mod links;
mod location;
mod masters;
mod mouth;
mod question;
mod resolve;
mod survey;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult, ScriptInvocation,
};
use deadpool_redis::{Manager, Pool, Runtime};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

pub use deadpool_redis::redis::{self as commands, RedisError, Script};

pub use ear::{Ear, Heard};
pub use failure::{Error, Fault};
pub use hello::{Hello, Mode, OLDEST, Unfit, Version};
pub use location::{Address, Location, Malformed, TAKES, Topology};
pub use masters::Masters;
pub use mouth::Mouth;
pub use survey::{Member, Memory, Survey};

use links::{Links, Load};
use question::{Asker, Way};

/// How long a refused question is remembered: nodes ask something every second or two.
const REFUSAL_KEPT: Duration = Duration::from_secs(5);

/// Which Redis, and how it is used.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it is.
    pub location: Location,
    /// The most connections for questions to each of its servers at a time.
    pub size: usize,
    /// The longest anybody waits for an answer.
    pub timeout: Duration,
}

/// The connections of this process; clones share them.
///
/// Which way a question goes depends on its answer: [`Redis::query`] for a single command, over a
/// connection that is its own meanwhile; [`Redis::invoke`] for a script with an answer of a few
/// words, as whatever has to be quick; [`Redis::fetch`] for a script whose answer grows with what
/// is kept, pages and lists, and for those that have to stay in order with it.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    location: Location,
    size: usize,
    timeout: Duration,
    /// Which server has which key, as far as is known.
    masters: watch::Sender<Arc<Masters>>,
    /// What is known seems wrong.
    is_suspicious: AtomicBool,
    /// Who has the permit finds out which server has which key; the others wait for that.
    finder: Semaphore,
    found: Mutex<Option<Instant>>,
    /// What the last question that was refused was refused for, and when.
    refused: Mutex<Option<(Fault, Instant)>>,
    /// A lock, for it is held as long as a look into a small table takes.
    pools: Mutex<HashMap<Address, Pool>>,
    links: Links,
}

impl Redis {
    /// Connections that are opened on first use.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let Config { location, size, timeout } = config;
        let known = match location.topology() {
            Topology::One => Masters::one(location.addresses()[0].clone()),
            Topology::Cluster | Topology::Sentinel { .. } => Masters::default(),
        };
        let shared = Shared {
            location: location.clone(),
            size: *size,
            timeout: *timeout,
            masters: watch::Sender::new(Arc::new(known)),
            is_suspicious: AtomicBool::new(false),
            finder: Semaphore::new(1),
            found: Mutex::new(None),
            refused: Mutex::new(None),
            pools: Mutex::default(),
            links: Links::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.shared.location
    }

    /// Asks one thing, of the server that has its key.
    ///
    /// # Errors
    /// What Redis says, or that it says nothing in time.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        let mut asker = Asker::new(self, Way::Pooled);
        self.within(async { Ok(command.query_async(&mut asker).await?) }).await
    }

    /// Runs a script with a short answer, on the server that has its first key and over the one
    /// connection there for such scripts: those of one caller are run in their order.
    ///
    /// # Errors
    /// What Redis says, or that it says nothing in time.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.run(script, Load::Light).await
    }

    /// Runs a script whose answer may be long, as [`Redis::invoke`] does, over another connection:
    /// its answer holds up only others of its kind.
    ///
    /// # Errors
    /// What Redis says, or that it says nothing in time.
    pub async fn fetch<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.run(script, Load::Heavy).await
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
        load: Load,
    ) -> Result<T, Error> {
        let mut asker = Asker::new(self, Way::Shared(load));
        self.within(async { Ok(script.invoke_async(&mut asker).await?) }).await
    }

    /// Why questions were refused lately by servers that answer: their memory is full, they load.
    #[must_use]
    pub fn refusal(&self) -> Option<Fault> {
        let refused = *self.shared.refused.lock();
        refused.filter(|(_, at)| at.elapsed() < REFUSAL_KEPT).map(|(fault, _)| fault)
    }

    /// Which server has which key, as far as is known; changes are told.
    #[must_use]
    pub fn masters(&self) -> watch::Receiver<Arc<Masters>> {
        self.shared.masters.subscribe()
    }

    /// A connection of its own to one server, to publish on.
    ///
    /// # Errors
    /// When it cannot be had in time.
    pub async fn mouth(&self, server: &Address) -> Result<Mouth, Error> {
        let link = self.within(async { Ok(self.link(server, settings(self.timeout())).await?) });
        Ok(Mouth::new(link.await?, self.publish()))
    }

    /// A connection of its own to one server, to listen on; `heard` is told what comes, one thing
    /// after the other, and must not block.
    ///
    /// # Errors
    /// When it cannot be had in time, or the server cannot be used.
    pub async fn ear(
        &self,
        server: &Address,
        heard: impl Fn(Heard) + Send + Sync + 'static,
    ) -> Result<Ear, Error> {
        self.within(Ear::connect(self, server, heard)).await
    }

    /// The command that publishes: on a cluster a topic lies where a key of its name would lie, and
    /// a script says there what is said to whoever listens there.
    #[must_use]
    pub fn publish(&self) -> &'static str {
        match self.location().topology() {
            Topology::Cluster => "SPUBLISH",
            Topology::One | Topology::Sentinel { .. } => "PUBLISH",
        }
    }

    /// What is known of the servers seems wrong: they are asked before the next question.
    pub fn suspect(&self) {
        self.shared.is_suspicious.store(true, Ordering::Relaxed);
    }

    fn remember(&self, fault: Fault) {
        // Any other error is about the question, not about the server.
        if matches!(
            fault,
            Fault::OutOfMemory
                | Fault::WritesRefused
                | Fault::ReadOnly
                | Fault::Permission
                | Fault::Loading
        ) {
            *self.shared.refused.lock() = Some((fault, Instant::now()));
        }
    }

    fn timeout(&self) -> Duration {
        self.shared.timeout
    }

    async fn link(
        &self,
        server: &Address,
        settings: AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let info = self.location().connection(server, location::As::Given);
        Client::open(info)?.get_multiplexed_async_connection_with_config(&settings).await
    }

    fn pool(&self, server: &Address) -> RedisResult<Pool> {
        let mut pools = self.shared.pools.lock();
        if let Some(pool) = pools.get(server) {
            return Ok(pool.clone());
        }
        let info = self.location().connection(server, location::As::Given);
        let timeout = self.timeout();
        let pool = Pool::builder(Manager::new_with_config(info, settings(timeout))?)
            .max_size(self.shared.size)
            .wait_timeout(Some(timeout))
            .create_timeout(Some(timeout))
            // Half of it, so that whoever gets a connection that is silently dead gets another one.
            .recycle_timeout(Some(timeout / 2))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime can be built");
        pools.insert(server.clone(), pool.clone());
        Ok(pool)
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.timeout(), answer).await.unwrap_or(Err(Error::Late))
    }
}

fn settings(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { location, masters, .. } = &*self.shared;
        f.debug_struct("Redis")
            .field("location", location)
            .field("masters", &*masters.borrow())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
