//! Finding the servers: a cluster is asked whose the slots are, Sentinels which server is the
//! master.
//!
//! All that may know are asked at once, and the first who knows is believed: one that is silent
//! holds up nobody. What they say may be old; then a server sends whoever asks elsewhere, and it is
//! asked again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{
    Client, ConnectionInfo, ErrorKind, FromRedisValue, RedisError, RedisResult, Value, cmd,
};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{Instant, timeout};

use super::failure::Fault;
use super::location::{Address, As, Topology};
use super::{Masters, Redis, failure, settings};

/// Between two searches, at least: a thousand questions that fail make one.
const SEARCH_INTERVAL: Duration = Duration::from_millis(100);

impl Redis {
    /// The servers, found anew where nothing is known or what is known seems wrong.
    pub(super) async fn resolve(&self) -> RedisResult<Arc<Masters>> {
        let known = self.shared.masters.borrow().clone();
        let is_known = !known.addresses().is_empty();
        if is_known && !self.shared.is_suspicious.load(Ordering::Relaxed) {
            return Ok(known);
        }
        match self.search().await {
            Err(_unfound) if is_known => Ok(known),
            found => found,
        }
    }

    /// Finds the servers anew.
    ///
    /// # Errors
    /// Nobody knows them.
    pub async fn search(&self) -> RedisResult<Arc<Masters>> {
        let shared = &*self.shared;
        let asked = Instant::now();
        let permit = shared.finder.acquire().await;
        let _permit = permit.expect("nobody closes the semaphore");
        // Somebody may have found them meanwhile.
        let is_fresh = |found: Instant| found >= asked || found.elapsed() < SEARCH_INTERVAL;
        if shared.found.lock().is_some_and(is_fresh) {
            return Ok(shared.masters.borrow().clone());
        }
        let found = match self.location().topology() {
            Topology::One => Ok(shared.masters.borrow().as_ref().clone()),
            Topology::Cluster => self.ask_cluster().await,
            Topology::Sentinel { master } => self.ask_sentinels(master).await.map(Masters::one),
        }?;
        *shared.found.lock() = Some(Instant::now());
        shared.is_suspicious.store(false, Ordering::Relaxed);
        shared.pools.lock().retain(|server, _| found.addresses().contains(server));
        shared.links.keep(&found);
        shared.masters.send_if_modified(|known| {
            let is_new = **known != found;
            if is_new {
                *known = Arc::new(found);
            }
            is_new
        });
        Ok(shared.masters.borrow().clone())
    }

    async fn ask_cluster(&self) -> RedisResult<Masters> {
        let mut servers = self.shared.masters.borrow().addresses().to_vec();
        servers.extend_from_slice(self.location().addresses());
        servers.sort_unstable();
        servers.dedup();
        let answers = servers.iter().map(|server| async move {
            let mut link = self.connect(self.location().connection(server, As::Given)).await?;
            let mut question = cmd("CLUSTER");
            let answer: Value = question.arg("SLOTS").query_async(&mut link).await?;
            let masters = Masters::of_slots(answer, server)?;
            if masters.addresses().is_empty() {
                return Err(failure::cluster_down("no slot is anybody's"));
            }
            Ok(masters)
        });
        self.first(answers).await
    }

    async fn ask_sentinels(&self, master: &str) -> RedisResult<Address> {
        let answers = self.location().addresses().iter().map(|sentinel| async move {
            let mut answer = self.ask_sentinel(sentinel, As::Nobody, master).await;
            // Sentinels have no password, or the one of the servers.
            if answer.as_ref().is_err_and(|e| failure::fault(e) == Fault::WrongPassword) {
                answer = self.ask_sentinel(sentinel, As::Given, master).await;
            }
            let (host, port) =
                answer?.ok_or((ErrorKind::MasterNameNotFoundBySentinel, "unknown"))?;
            Ok(Address { host, port })
        });
        self.first(answers).await
    }

    async fn ask_sentinel(
        &self,
        sentinel: &Address,
        whom: As,
        master: &str,
    ) -> RedisResult<Option<(String, u16)>> {
        let mut link = self.connect(self.location().sentinel(sentinel, whom)).await?;
        let mut question = cmd("SENTINEL");
        let answer = question.arg("GET-MASTER-ADDR-BY-NAME").arg(master).query_async(&mut link);
        Ok(Option::from_redis_value(answer.await?)?)
    }

    async fn connect(&self, info: ConnectionInfo) -> RedisResult<MultiplexedConnection> {
        let settings = settings(self.timeout());
        Client::open(info)?.get_multiplexed_async_connection_with_config(&settings).await
    }

    /// The first who knows; otherwise what one of those who answer says.
    async fn first<T>(
        &self,
        answers: impl Iterator<Item = impl Future<Output = RedisResult<T>>>,
    ) -> RedisResult<T> {
        let mut answers: FuturesUnordered<_> = answers.collect();
        let mut refused: Option<RedisError> = None;
        let search = async {
            while let Some(answer) = answers.next().await {
                match answer {
                    Ok(answer) => return Ok(answer),
                    Err(error) if refused.as_ref().is_none_or(RedisError::is_io_error) => {
                        refused = Some(error);
                    }
                    Err(_another) => {}
                }
            }
            Err(())
        };
        match timeout(self.timeout(), search).await {
            Ok(Ok(answer)) => Ok(answer),
            _ => Err(refused
                .unwrap_or_else(|| std::io::Error::from(std::io::ErrorKind::TimedOut).into())),
        }
    }
}
