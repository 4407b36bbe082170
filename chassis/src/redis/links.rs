//! One connection to each server for many scripts at once: they travel together, and their answers
//! come in their order.
//!
//! Each is made when it is first needed, by one caller for all who wait, and made again after it
//! failed. One server that is away does not touch the connections to the others.

use std::collections::HashMap;
use std::sync::Arc;

use deadpool_redis::redis::RedisResult;
use deadpool_redis::redis::aio::MultiplexedConnection;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::location::Address;
use super::{Redis, settings};

/// A connection, made or not.
type Made = Arc<OnceCell<MultiplexedConnection>>;

/// A connection to each server.
#[derive(Default)]
pub(super) struct Links {
    /// A lock, for it is held as long as a look into a small table takes.
    made: Mutex<HashMap<Address, Made>>,
}

impl Links {
    pub(super) async fn to(
        &self,
        redis: &Redis,
        server: &Address,
    ) -> RedisResult<MultiplexedConnection> {
        let made = self.made.lock().entry(server.clone()).or_default().clone();
        // A little less than whoever asks waits, so that one that is silent is put away.
        let connect = || redis.link(server, settings(redis.timeout().mul_f64(0.9)));
        made.get_or_try_init(connect).await.cloned()
    }

    /// The connection to a server has failed: the next question makes another.
    pub(super) fn put_away(&self, server: &Address) {
        self.made.lock().remove(server);
    }
}
