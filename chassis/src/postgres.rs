//! A pool of PostgreSQL connections that survives a failover.

use std::sync::Arc;

use arc_swap::ArcSwap;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};

/// The connections of this process; clones share them.
#[derive(Debug, Clone)]
pub struct Pool {
    current: Arc<ArcSwap<PgPool>>,
}

impl Pool {
    /// A pool that connects on first use.
    #[must_use]
    pub fn new(size: u32, options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new().max_connections(size).connect_lazy_with(options);
        Self { current: Arc::new(ArcSwap::from_pointee(pool)) }
    }

    /// The connections in use now.
    #[must_use]
    pub fn get(&self) -> PgPool {
        PgPool::clone(&self.current.load())
    }
}
