//! Connections to each server for many scripts at once: on one they travel together, and their
//! answers come in their order. What must be quick never stands behind an answer that is big.
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
use super::{Masters, Redis, settings};

/// A connection, made or not.
type Made = Arc<OnceCell<MultiplexedConnection>>;

/// What travels on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Load {
    /// Answers of a few words.
    Light,
    /// Answers as long as what is kept.
    Heavy,
}

/// A connection of each load to each server.
#[derive(Default)]
pub(super) struct Links {
    /// A lock, for it is held as long as a look into a small table takes.
    made: Mutex<HashMap<(Address, Load), Made>>,
}

/// A connection, and which of those that were made it is.
pub(super) struct Link {
    pub(super) connection: MultiplexedConnection,
    load: Load,
    made: Made,
}

impl Links {
    pub(super) async fn to(
        &self,
        redis: &Redis,
        server: &Address,
        load: Load,
    ) -> RedisResult<Link> {
        let made = self.made.lock().entry((server.clone(), load)).or_default().clone();
        // A little less than whoever asks waits, so that one that is silent is put away.
        let connect = || redis.link(server, settings(redis.timeout().mul_f64(0.9)));
        let connection = made.get_or_try_init(connect).await?.clone();
        Ok(Link { connection, load, made })
    }

    /// This connection to a server has failed: the next question makes another, unless one has
    /// already.
    pub(super) fn put_away(&self, server: &Address, link: &Link) {
        let mut made = self.made.lock();
        let key = (server.clone(), link.load);
        if made.get(&key).is_some_and(|known| Arc::ptr_eq(known, &link.made)) {
            made.remove(&key);
        }
    }

    /// Lets go of those to servers that are none of ours any more.
    pub(super) fn keep(&self, masters: &Masters) {
        self.made.lock().retain(|(server, _), _| masters.addresses().contains(server));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{Config, Location};
    use super::*;
    use crate::testing::Redis as Server;

    #[tokio::test]
    async fn a_connection_that_failed_late_leaves_the_one_after_it() {
        let server = Server::start().await;
        let location = Location::parse(&server.url().into()).unwrap();
        let redis = Redis::new(&Config { location, size: 1, timeout: Duration::from_secs(5) });
        let address = redis.location().addresses()[0].clone();
        let links = Links::default();
        let to = async |load| links.to(&redis, &address, load).await.unwrap();
        let (first, heavy) = (to(Load::Light).await, to(Load::Heavy).await);
        assert!(!Arc::ptr_eq(&first.made, &heavy.made));
        links.put_away(&address, &first);
        let second = to(Load::Light).await;
        assert!(!Arc::ptr_eq(&first.made, &second.made));
        // Somebody else waited for the first one, too.
        links.put_away(&address, &first);
        assert!(Arc::ptr_eq(&to(Load::Light).await.made, &second.made));
        assert!(Arc::ptr_eq(&to(Load::Heavy).await.made, &heavy.made));
        links.keep(&Masters::one(address.clone()));
        assert_eq!(links.made.lock().len(), 2);
        links.keep(&Masters::default());
        assert!(links.made.lock().is_empty());
    }
}
