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

pub mod bus;
mod repair;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub use repair::Repair;

use bus::{Bus, LogEvent, Message, Topic};

use crate::channel::{Channel, ChannelName, Delivered, Full, Hub, Options};
use crate::protocol::Publication;
use crate::room::RoomId;
use crate::room::happening::Heard;
use crate::store::{self, Amend, Change, Published, Store};

/// How long whoever asked waits for the store: a command is answered within four seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(3500);

/// What the channels of rooms begin with.
const ROOM: &str = "room:";

/// When heads are compared after a change of which it is not known whether it was done: a commit
/// that nobody waits for any more ends within the time it may take, if it does.
const DOUBTS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

/// Channels that wait for something missing; more are found by the comparison of heads.
const GAPS_MAX: usize = 1024;

/// Publishes what the store has committed.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    store: Arc<Store>,
    bus: Bus,
    tasks: TaskTracker,
    gaps: mpsc::Sender<Arc<Channel>>,
    soon: Arc<Notify>,
}

/// Why a channel with a log cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// There are too many channels.
    #[error(transparent)]
    Full(#[from] Full),
    /// Where its log stands cannot be asked.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Fanout {
    /// Changes run on `tasks`; what is missing is fetched by the second value, a task to be.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        store: Arc<Store>,
        bus: Bus,
        tasks: TaskTracker,
    ) -> (Arc<Self>, Repair) {
        let (gaps, missing) = mpsc::channel(GAPS_MAX);
        let soon = Arc::new(Notify::new());
        let repair = Repair::new(hub.clone(), store.clone(), missing, bus.clone(), soon.clone());
        (Arc::new(Self { hub, store, bus, tasks, gaps, soon }), repair)
    }

    /// Puts committed events before everyone who listens, here and on the other nodes.
    pub fn publish(&self, published: Vec<Published>) {
        let epoch = self.hub.log_epoch();
        for Published { log, channel, event, amends, accepted } in published {
            // Also where nobody here is in the room: whoever is answered may ask at once.
            if channel.starts_with(ROOM)
                && let Some(heard) = Heard::parse(&event.data)
            {
                self.hub.changes().raise(RoomId::from_uuid(log.uuid()), &heard);
            }
            self.deliver(&channel, event.publication(), amends.clone(), accepted);
            let event = LogEvent { epoch: epoch.clone(), event, amends };
            self.bus.say(Topic::Channel(&channel), &Message::Event(event));
        }
    }

    /// Something may have been missed: where the channels stand is compared with the store.
    pub fn compare_soon(&self) {
        self.soon.notify_one();
    }

    async fn compare_for_a_while(&self) {
        for pause in DOUBTS {
            tokio::time::sleep(pause).await;
            self.compare_soon();
        }
    }

    /// Puts an event that another node has committed before everyone who listens here.
    pub fn receive(&self, channel: &str, LogEvent { epoch, event, amends }: LogEvent) {
        // Of another life: the comparison finds that.
        if epoch == self.hub.log_epoch() {
            self.deliver(channel, event.publication(), amends, None);
        }
    }

    fn deliver(
        &self,
        channel: &str,
        publication: Publication,
        amends: Vec<Amend>,
        accepted: Option<Instant>,
    ) {
        let Some(channel) = self.hub.find_by_text(channel) else { return };
        if channel.deliver(publication, amends, accepted) == Delivered::Gap
            && self.gaps.try_send(channel).is_err()
        {
            tracing::warn!("many channels miss something: their heads will tell");
        }
    }

    /// A channel that knows where its log stands. It is in the registry before it asks, so what is
    /// committed meanwhile reaches it.
    ///
    /// # Errors
    /// There are too many channels, or the store cannot be asked.
    pub async fn open(
        &self,
        name: &ChannelName,
        options: &Arc<Options>,
    ) -> Result<Arc<Channel>, EnterError> {
        let channel = self.hub.channel(name, options)?;
        if let Some(log) = channel.log().filter(|_| !channel.is_based()) {
            // What is committed after this is heard, or found when heads are compared.
            channel.is_heard().await;
            channel.base(&within(self.store.head(log)).await?);
        }
        Ok(channel)
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
            let done = operation.await;
            if let Err(store::Error::Unavailable { .. } | store::Error::Database(_)) = &done {
                // What is not known to be done may have been, or may be done yet.
                let again = this.clone();
                this.tasks.spawn(async move { again.compare_for_a_while().await });
            }
            let Change { value, published } = done?;
            this.publish(published);
            Ok(value)
        });
        match within(async { Ok(task.await) }).await? {
            Ok(done) => done,
            Err(panicked) => Err(store::Error::Broken(panicked.to_string())),
        }
    }
}

/// What the store says, or that it says nothing in time.
pub(crate) async fn within<T>(
    answer: impl Future<Output = Result<T, store::Error>>,
) -> Result<T, store::Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, answer)
        .await
        .unwrap_or_else(|_elapsed| Err(store::Error::late()))
}
