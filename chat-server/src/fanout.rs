//! From a commit to everyone in the channel: published once, after the commit, in the order of the
//! offsets.
//!
//! ```text
//! Committer, Store::edit ..  -> Fanout::publish -> bus -> receive -> Channel::deliver
//! command::publish, Control  -> Fanout::publish_plain -> the same, see fanout/plain.rs
//!                               Repair: what a channel misses is read from where its offsets come
//! ```
//! A publication that comes early waits for those before it; when they do not come, they are read.
//! A lost last one shows no gap, so the positions of the channels that somebody listens to are
//! compared with the store and with Redis. Nothing here calls a session or a command.

pub mod bus;
mod plain;
mod read;
mod recall;
mod repair;
mod words;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::task::TaskTracker;

pub use plain::PublishError;
pub use read::{Ends, ReadError};
pub use repair::{Over, Repair};

use bus::{Bus, LogEvent, Message, Topic};
use recall::Recalls;
use repair::Alarm;
use words::Words;

use crate::channel::{Arrival, Channel, ChannelName, Delivered, Full, Hub, Options, Source};
use crate::nodes::log::{Log, Place};
use crate::protocol::Position;
use crate::room::RoomId;
use crate::room::happening::Heard;
use crate::store::{self, Change, Published, State, Store};

/// How long whoever asked waits for the store: a command is answered within four seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(3500);

/// What the channels of rooms begin with.
const ROOM: &str = "room:";

/// When heads are compared after a change of which it is not known whether it was done: a commit
/// that nobody waits for any more ends within the time it may take, if it does.
const DOUBTS: [Duration; 3] = [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(2)];

/// Puts what is published before everyone.
#[derive(Debug)]
pub struct Fanout {
    hub: Arc<Hub>,
    store: Arc<Store>,
    /// What the nodes keep together of channels without a log.
    shared: Option<Arc<Log>>,
    bus: Bus,
    tasks: TaskTracker,
    of_logs: Alarm,
    of_shared: Option<Alarm>,
    recalls: Recalls,
    words: Arc<Words>,
}

/// Where offsets come from.
#[derive(Debug)]
pub struct Origins {
    /// Those of rooms and feeds.
    pub store: Arc<Store>,
    /// Those that the nodes give together.
    pub shared: Option<Arc<Log>>,
}

/// Why a channel cannot be entered.
#[derive(Debug, thiserror::Error)]
pub enum EnterError {
    /// There are too many channels.
    #[error(transparent)]
    Full(#[from] Full),
    /// Where it stands cannot be asked.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl Fanout {
    /// Changes run on `tasks`; what is missing is fetched by the second value, a task to be.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        Origins { store, shared }: Origins,
        bus: Bus,
        tasks: TaskTracker,
    ) -> (Arc<Self>, Repair) {
        let (recalls, words) = (Recalls::new(), Words::new());
        let (repair, of_logs, of_shared) =
            Repair::new(&hub, &bus, store.clone(), shared.clone(), words.clone());
        let fanout = Self { hub, store, shared, bus, tasks, of_logs, of_shared, recalls, words };
        (Arc::new(fanout), repair)
    }

    /// Puts committed events before everyone who listens, here and on the other nodes.
    pub fn publish(&self, published: Vec<Published>) {
        let life = self.hub.log_epoch();
        for Published { log, channel, event, amends, accepted } in published {
            // Also where nobody here is in the room: whoever is answered may ask at once.
            if channel.starts_with(ROOM)
                && let Some(heard) = Heard::parse(&event.data)
            {
                self.hub.changes().raise(RoomId::from_uuid(log.uuid()), &heard);
            }
            let (epoch, publication) = (life.clone(), event.publication());
            let arrival = Arrival { epoch, publication, amends: amends.clone() };
            self.deliver(&channel, arrival, accepted);
            let event = LogEvent { epoch: life.clone(), event, amends };
            self.bus.say(Topic::Channel(&channel), &Message::Event(event));
        }
    }

    /// Something may have been missed: it is compared where all channels stand.
    pub fn compare_soon(&self) {
        self.of_logs.compare_soon();
        self.compare_shared_soon();
    }

    fn compare_shared_soon(&self) {
        if let Some(alarm) = &self.of_shared {
            alarm.compare_soon();
        }
    }

    async fn compare_for_a_while(&self) {
        for pause in DOUBTS {
            tokio::time::sleep(pause).await;
            self.of_logs.compare_soon();
        }
    }

    /// Puts an event that another node has committed before everyone who listens here.
    pub fn receive(&self, channel: &str, LogEvent { epoch, event, amends }: LogEvent) {
        let publication = event.publication();
        self.deliver(channel, Arrival { epoch, publication, amends }, None);
    }

    fn deliver(&self, channel: &str, arrival: Arrival, accepted: Option<Instant>) {
        let Some(channel) = self.hub.find_by_text(channel) else { return };
        let found = channel.deliver(arrival, accepted);
        self.look_after(channel, found);
    }

    /// Lets what was found be repaired.
    fn look_after(&self, channel: Arc<Channel>, found: Delivered) {
        match (found, channel.source(), &self.of_shared) {
            (Delivered::Gap, Source::Log(_), _) => self.of_logs.gap(channel),
            (Delivered::Gap, Source::Shared, Some(alarm)) => alarm.gap(channel),
            (Delivered::OtherLife, Source::Shared, Some(alarm)) => alarm.compare_soon(),
            // Of logs, the next comparison finds it.
            _ => {}
        }
    }

    /// A channel that knows where it stands. It is in the registry before it asks, so what is
    /// published meanwhile reaches it.
    ///
    /// # Errors
    /// There are too many channels, or where it stands cannot be asked.
    pub async fn open(
        &self,
        name: &ChannelName,
        options: &Arc<Options>,
    ) -> Result<Arc<Channel>, EnterError> {
        let channel = self.hub.channel(name, options)?;
        if channel.is_based() {
            return Ok(channel);
        }
        // What is published after this is heard, or found when positions are compared.
        channel.is_heard().await;
        let found = match (channel.source(), &self.shared) {
            (Source::Log(log), _) => {
                let head = within(self.store.head(log)).await.map_err(ReadError::from)?;
                let epoch = channel.epoch();
                channel.base(&Position { epoch, offset: head.offset }, head.revision)
            }
            (Source::Shared, Some(log)) => {
                let position = log.stand(Place::of(&channel)).await.map_err(ReadError::from)?;
                channel.base(&position, 0)
            }
            (Source::Memory | Source::Shared, _) => Delivered::Done,
        };
        self.look_after(channel.clone(), found);
        Ok(channel)
    }

    /// The same for somebody's own feed, of which they say where it stands: that is believed until
    /// it was compared with the store, a moment later and with those of many others.
    ///
    /// # Errors
    /// As for [`Fanout::open`].
    pub async fn open_at(
        &self,
        name: &ChannelName,
        options: &Arc<Options>,
        word: &Position,
    ) -> Result<Arc<Channel>, EnterError> {
        let channel = self.hub.channel(name, options)?;
        let of_this_life = !word.epoch.is_empty() && word.epoch == channel.epoch();
        if let Some(log) = channel.log().filter(|_| of_this_life && !channel.is_based())
            && self.store.state() == State::Up
        {
            channel.is_heard().await;
            if self.words.believe(&channel, log, word) {
                return Ok(channel);
            }
        }
        self.open(name, options).await
    }

    /// Has a channel with a log keep in memory what somebody missed of it, if it can: read once
    /// for everyone who comes.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn recall(&self, channel: &Channel, after: u64) -> Result<(), ReadError> {
        let Some(log) = channel.log().filter(|_| channel.gap(after).is_some()) else {
            return Ok(());
        };
        let recalled = self.recalls.recall(&self.store, channel, log, after);
        Ok(within(Box::pin(recalled)).await?)
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
