//! Appends from all sessions of the process, a transaction for what gathered.

use std::fmt;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{Draft, Outcome, Published, Store};

/// What is done with committed events.
pub type Publish = Arc<dyn Fn(Vec<Published>) + Send + Sync>;

/// The one writer of messages; shared by every session.
pub struct Committer {
    store: Arc<Store>,
    publish: Publish,
}

impl Committer {
    /// Starts it on `tasks`.
    #[must_use]
    pub fn start(store: Arc<Store>, publish: Publish, _tasks: &TaskTracker) -> Arc<Self> {
        Arc::new(Self { store, publish })
    }

    /// Appends a draft and waits until it is durable.
    ///
    /// # Errors
    /// What became of it instead.
    pub async fn append(&self, draft: Draft) -> Outcome {
        self.store.monitor.check()?;
        drop(draft);
        (self.publish)(Vec::new());
        Err(super::Error::Broken("nothing is appended yet".to_owned()))
    }
}

impl fmt::Debug for Committer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Committer").finish_non_exhaustive()
    }
}
