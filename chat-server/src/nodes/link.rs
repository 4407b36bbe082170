//! One connection to Redis for many questions at once: they travel together, and their answers
//! come in their order.
//!
//! Made when it is first needed, by one caller for all who wait; made again after it failed.
//! Nothing here retries.

use std::sync::Arc;

use chassis::redis::commands::aio::MultiplexedConnection;
use chassis::redis::commands::{FromRedisValue, ScriptInvocation};
use chassis::redis::{Error, Redis};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

/// The connection, made or not.
type Made = Arc<OnceCell<MultiplexedConnection>>;

/// A connection that is made when it is needed.
#[derive(Default)]
pub(super) struct Link {
    /// Held to look or to put another one in its place.
    made: Mutex<Made>,
}

impl Link {
    /// Runs a script.
    pub(super) async fn invoke<T: FromRedisValue>(
        &self,
        redis: &Redis,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, Error> {
        let made = self.made.lock().clone();
        let mut connection = made.get_or_try_init(|| redis.link()).await?.clone();
        let answer = script.invoke_async(&mut connection).await;
        answer.map_err(|error| {
            // An answer that is an error says that the connection is good.
            if error.code().is_none() {
                self.put_away(&made);
            }
            error.into()
        })
    }

    /// Others may have made another one meanwhile, which stays.
    fn put_away(&self, failed: &Made) {
        let mut made = self.made.lock();
        if Arc::ptr_eq(&made, failed) {
            *made = Made::default();
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_made = self.made.lock().initialized();
        f.debug_struct("Link").field("is_made", &is_made).finish()
    }
}
