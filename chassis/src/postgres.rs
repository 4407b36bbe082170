//! A pool of PostgreSQL connections that survives a failover.
//!
//! The connections of a pool are as old as the address they were opened to: when another server
//! takes over behind the same name, all of them are worth nothing. Whoever notices (a connection
//! that is lost, a server that only reads) calls [`Pool::renew`], and everyone gets connections
//! opened from then on. Nobody waits for the old ones: they go when their last user does.
//!
//! What every connection of the pool is set to stands in `settings`. Secrets stay in here: no
//! error, debug form or log line of this module has them.

mod failure;
mod location;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::SecretString;
use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use tokio::time::timeout;

pub use failure::{is_connection_lost, is_read_only, is_transient, sqlstate};
pub use location::{Location, Malformed};

/// The longest anybody waits for a connection: with a server that is away, more is waiting for
/// nothing.
const ACQUIRE_TIMEOUT_MAX: Duration = Duration::from_secs(2);

/// How long saying goodbye to the server may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Which server, and how it is used.
#[derive(Debug, Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database?options`.
    pub url: SecretString,
    /// The most connections at a time.
    pub size: u32,
    /// The longest a statement may take.
    pub timeout: Duration,
    /// What the connections are called in `pg_stat_activity`.
    pub application: String,
}

/// The connections of this process; clones share them.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    location: Location,
    options: PgConnectOptions,
    pool: PgPoolOptions,
    current: ArcSwap<PgPool>,
}

impl Pool {
    /// A pool that connects on first use.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(config: &Config) -> Result<Self, Malformed> {
        let location = Location::parse(&config.url)?;
        let options = settings(location.options(), config);
        let pool = PgPoolOptions::new()
            .max_connections(config.size)
            .acquire_timeout(config.timeout.min(ACQUIRE_TIMEOUT_MAX))
            // A round trip for each use: a connection that broke while it was idle is found by
            // its user, who renews the pool.
            .test_before_acquire(false);
        let current = ArcSwap::from_pointee(pool.clone().connect_lazy_with(options.clone()));
        Ok(Self { shared: Arc::new(Shared { location, options, pool, current }) })
    }

    /// The connections in use now.
    #[must_use]
    pub fn get(&self) -> PgPool {
        PgPool::clone(&self.shared.current.load())
    }

    /// A connection of its own, set like those of the pool and not counted among them.
    ///
    /// # Errors
    /// What the server says, or that it says nothing for as long as the pool would wait.
    pub async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let patience = self.shared.pool.get_acquire_timeout();
        let connected = timeout(patience, self.shared.options.connect()).await;
        connected.unwrap_or_else(|elapsed| Err(std::io::Error::from(elapsed).into()))
    }

    /// Everyone gets new connections from now on.
    pub fn renew(&self) {
        let Shared { pool, options, current, .. } = &*self.shared;
        // What was swapped out is closed with its last user.
        drop(current.swap(Arc::new(pool.clone().connect_lazy_with(options.clone()))));
    }

    /// Says goodbye to the server; connections that are in use then are cut.
    pub async fn close(&self) {
        if timeout(CLOSE_TIMEOUT, self.get().close()).await.is_err() {
            tracing::debug!("the database was left without a goodbye");
        }
    }

    /// Where the server is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.shared.location
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { location, current, .. } = &*self.shared;
        f.debug_struct("Pool").field("location", location).field("current", current).finish()
    }
}

/// What every connection is set to, unless the URL says otherwise.
///
/// They travel with the start of the connection, so they cost no round trip. The server acts on
/// them; there is no way to set keepalives on this end of the socket, so whoever waits for an
/// answer here must stop waiting by a clock.
fn settings(options: PgConnectOptions, config: &Config) -> PgConnectOptions {
    let timeout = config.timeout.as_millis().to_string();
    let wanted = [
        // A statement that nobody waits for any more holds no lock for longer than this.
        ("statement_timeout", timeout.as_str()),
        // Likewise a transaction whose client has gone quiet between two statements.
        ("idle_in_transaction_session_timeout", timeout.as_str()),
        // A client that vanished without a word: asked after 30 s of silence, given up after 30 s
        // without an answer. Its locks go with it.
        ("tcp_keepalives_idle", "30"),
        ("tcp_keepalives_interval", "10"),
        ("tcp_keepalives_count", "3"),
        // The same while an answer is on its way to it, in milliseconds.
        ("tcp_user_timeout", "30000"),
        // The statements are few and each is right for any parameter: planning once is enough,
        // and compiling them costs more than it saves.
        ("plan_cache_mode", "force_generic_plan"),
        ("jit", "off"),
    ];
    let given = options.get_options().unwrap_or_default().to_owned();
    let says = |name: &str| given.contains(&format!("{name}="));
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name(&config.application),
    };
    options.options(wanted.into_iter().filter(|(name, _)| !says(name)))
}

#[cfg(test)]
mod tests;
