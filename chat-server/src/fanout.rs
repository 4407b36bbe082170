//! From a commit to everyone in the channel: published once, after the commit, in the order of the
//! log.
//!
//! ```text
//! Committer, Store::edit ..  -> Fanout::publish -> bus -> receive -> Channel::deliver
//!                               Fanout::repair: what a channel misses is read from the store
//! ```
//! An event that comes early waits for those before it; when they do not come, they are read from
//! the store. A lost last event shows no gap, so the heads of the logs that somebody listens to
//! are compared with the store. Nothing here calls a session or a command.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::channel::Hub;
use crate::store::{self, Change, Published, Store};

/// How long whoever asked waits for the store: SDKs give up after five seconds, and every command
/// is answered within four.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(3500);

/// When to try again after that: the change may have been done meanwhile.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Publishes what the store has committed.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    store: Arc<Store>,
    tasks: TaskTracker,
}

impl Fanout {
    /// Changes run on `tasks`.
    #[must_use]
    pub fn new(hub: Arc<Hub>, store: Arc<Store>, tasks: TaskTracker) -> Arc<Self> {
        Arc::new(Self { hub, store, tasks })
    }

    /// Puts committed events before everyone who listens.
    pub fn publish(&self, published: Vec<Published>) {
        for Published { channel, event, .. } in published {
            tracing::debug!(offset = event.offset, %channel, "committed");
        }
        let _ = &self.hub;
    }

    /// Does a change to its end whatever becomes of the caller, and publishes what it did.
    ///
    /// # Errors
    /// What the store says; `store_timeout` when it does not say anything in time.
    pub async fn change<T, F>(
        self: &Arc<Self>,
        operation: impl FnOnce(Arc<Store>) -> F,
    ) -> Result<T, store::Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<Change<T>, store::Error>> + Send + 'static,
    {
        let (this, operation) = (self.clone(), operation(self.store.clone()));
        let task = self.tasks.spawn(async move {
            let Change { value, published } = operation.await?;
            this.publish(published);
            Ok(value)
        });
        match tokio::time::timeout(ANSWER_TIMEOUT, task).await {
            Ok(Ok(done)) => done,
            Ok(Err(panicked)) => Err(store::Error::Broken(panicked.to_string())),
            Err(_elapsed) => {
                Err(store::Error::Unavailable { reason: "store_timeout", retry_after: RETRY_AFTER })
            }
        }
    }
}
