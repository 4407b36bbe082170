//! Redis: a pool of connections for questions, connections of one's own for what is published and
//! heard.
//!
//! Nothing is connected before it is used, and nothing here retries: whoever asks is answered or
//! refused within the timeout, and decides. Secrets stay in here: no error, debug form or log line
//! of this module has them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection, PubSub};
use deadpool_redis::redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, ScriptInvocation};
use deadpool_redis::{Manager, Pool, PoolError, Runtime};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

pub use deadpool_redis::redis::{self as commands, RedisError, Script};

/// Which Redis, and how it is used.
#[derive(Debug, Clone)]
pub struct Config {
    /// `redis://user:password@host:port/database`.
    pub url: SecretString,
    /// The most connections for questions at a time.
    pub size: usize,
    /// The longest anybody waits for an answer.
    pub timeout: Duration,
}

/// The connections of this process; clones share them.
#[derive(Clone)]
pub struct Redis {
    shared: Arc<Shared>,
}

struct Shared {
    client: Client,
    pool: Pool,
    timeout: Duration,
}

/// Why Redis did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer in time.
    #[error("redis did not answer in time")]
    Late,
    /// What Redis, or the way to it, says.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
    /// No connection could be had.
    #[error("redis: no connection: {0}")]
    Pool(PoolError),
}

impl Redis {
    /// Connections that are opened on first use.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(config: &Config) -> Result<Self, RedisError> {
        let client = Client::open(config.url.expose_secret())?;
        let info = client.get_connection_info().clone();
        let settings = settings(config.timeout);
        let manager = Manager::new_with_config(info, settings)?;
        let pool = Pool::builder(manager)
            .max_size(config.size)
            .wait_timeout(Some(config.timeout))
            .create_timeout(Some(config.timeout))
            .recycle_timeout(Some(config.timeout))
            .runtime(Runtime::Tokio1)
            .build()
            .expect("a pool with a runtime can be built");
        Ok(Self { shared: Arc::new(Shared { client, pool, timeout: config.timeout }) })
    }

    /// Asks one thing.
    ///
    /// # Errors
    /// What Redis says, or that it says nothing in time.
    pub async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Error> {
        self.within(async { Ok(command.query_async(&mut self.pooled().await?).await?) }).await
    }

    /// Runs a script.
    ///
    /// # Errors
    /// What Redis says, or that it says nothing in time.
    pub async fn invoke<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        self.within(async { Ok(script.invoke_async(&mut self.pooled().await?).await?) }).await
    }

    /// A connection of its own; what is sent on it by many at once travels together.
    ///
    /// # Errors
    /// When it cannot be had in time.
    pub async fn link(&self) -> Result<MultiplexedConnection, Error> {
        let settings = settings(self.shared.timeout);
        let client = &self.shared.client;
        self.within(async {
            Ok(client.get_multiplexed_async_connection_with_config(&settings).await?)
        })
        .await
    }

    /// A connection of its own to listen on.
    ///
    /// # Errors
    /// When it cannot be had in time.
    pub async fn ear(&self) -> Result<PubSub, Error> {
        self.within(async { Ok(self.shared.client.get_async_pubsub().await?) }).await
    }

    async fn pooled(&self) -> Result<impl ConnectionLike + use<>, Error> {
        self.shared.pool.get().await.map_err(Error::Pool)
    }

    async fn within<T>(&self, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        timeout(self.shared.timeout, answer).await.unwrap_or(Err(Error::Late))
    }
}

fn settings(timeout: Duration) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout))
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("pool", &self.shared.pool.status()).finish_non_exhaustive()
    }
}
