//! The registry: one [`Channel`] for each name in use.
//!
//! A channel is found or made under the lock of its part of the registry. It is forgotten by a
//! sweep, under the same lock, when nobody else holds it and its history is empty, so there are
//! never two channels of one name.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use chassis::delivery::Delivery;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::live::Kept;
use super::moves::Moves;
use super::outlet::OUTLETS;
use super::{Changes, Channel, ChannelName, Namespaces, Options, Source, epoch};
use crate::fanout::bus::Bus;

/// Parts of the registry, each with its own lock: publishers of different channels rarely meet.
const PARTS: usize = 64;

/// Channels at once: about 1 GiB when each is empty.
const CHANNELS_MAX: usize = 1_000_000;

/// One part is swept each time: each within seven seconds.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// How long after a comparison with the store channels are believed to be abreast of it: one
/// comparison may fail or take long, not two.
const ABREAST_HEARING: Duration = Duration::from_secs(8);

/// The same while nothing of other nodes is heard and the store alone tells: it is compared every
/// second.
const ABREAST_DEAF: Duration = Duration::from_secs(2);

/// Some of the channels, under a lock of their own.
type Part = Mutex<HashMap<Arc<str>, Arc<Channel>, RandomState>>;

/// All channels of this process.
#[derive(Debug)]
pub struct Hub {
    parts: Vec<Part>,
    hasher: RandomState,
    namespaces: Namespaces,
    bus: Bus,
    kept: Arc<Kept>,
    /// The life of the offsets of all logs.
    log_epoch: Mutex<Arc<str>>,
    /// When where logs stand was last compared with the store.
    compared: Mutex<Instant>,
    next_topic: AtomicU64,
    count: AtomicUsize,
}

/// There are as many channels as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there are already {CHANNELS_MAX} channels")]
pub struct Full;

impl Hub {
    /// An empty registry; histories may take `history_bytes_max` together.
    #[must_use]
    pub fn new(
        namespaces: Namespaces,
        delivery: Delivery,
        bus: Bus,
        history_bytes_max: usize,
    ) -> Arc<Self> {
        let kept = Kept {
            delivery,
            bytes: AtomicUsize::new(0),
            bytes_max: history_bytes_max,
            changes: Changes::default(),
            moves: Moves::new(matches!(bus, Bus::Redis(_))),
            seats: AtomicUsize::new(0),
        };
        Arc::new(Self {
            parts: std::iter::repeat_with(Mutex::default).take(PARTS).collect(),
            hasher: RandomState::default(),
            namespaces,
            bus,
            kept: Arc::new(kept),
            log_epoch: Mutex::new("".into()),
            compared: Mutex::new(Instant::now()),
            next_topic: AtomicU64::new(0),
            count: AtomicUsize::new(0),
        })
    }

    /// What may be done in a channel; `None` = there is no such channel.
    #[must_use]
    pub fn options(&self, name: &ChannelName) -> Option<&Arc<Options>> {
        self.namespaces.options(name)
    }

    /// The way out.
    #[must_use]
    pub fn delivery(&self) -> &Delivery {
        &self.kept.delivery
    }

    /// False when all histories together are as large as they may be.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.kept.has_room()
    }

    /// What happens to rooms and to the people in them.
    #[must_use]
    pub fn changes(&self) -> &Changes {
        &self.kept.changes
    }

    /// Channels in use.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Where the offsets of a channel come from.
    #[must_use]
    pub fn source(&self, name: &ChannelName, options: &Options) -> Source {
        match (name.log(), &self.bus) {
            (Some(log), _) => Source::Log(log),
            (None, Bus::Redis(_)) if options.history_size > 0 => Source::Shared,
            (None, _) => Source::Memory,
        }
    }

    /// The channel, made on first use.
    ///
    /// # Errors
    /// [`Full`] when it is new and there are too many.
    pub fn channel(
        &self,
        name: &ChannelName,
        options: &Arc<Options>,
    ) -> Result<Arc<Channel>, Full> {
        let mut part = self.part(name.shared()).lock();
        if let Some(channel) = part.get(name.shared()) {
            return Ok(channel.clone());
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= CHANNELS_MAX {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return Err(Full);
        }
        let topics = self.next_topic.fetch_add(OUTLETS as u64, Ordering::Relaxed);
        let source = self.source(name, options);
        let epoch = match source {
            Source::Memory => Some(epoch::begin()),
            Source::Log(_) => Some(self.log_epoch()),
            Source::Shared => None,
        };
        let channel = Arc::new(Channel::new(
            name,
            options.clone(),
            (source, epoch),
            topics,
            self.kept.clone(),
            self.bus.listen(name.shared()),
        ));
        part.insert(name.shared().clone(), channel.clone());
        Ok(channel)
    }

    /// The channel, if it is in use.
    #[must_use]
    pub fn find(&self, name: &ChannelName) -> Option<Arc<Channel>> {
        self.part(name.shared()).lock().get(name.shared()).cloned()
    }

    /// The same by its text.
    #[must_use]
    pub fn find_by_text(&self, channel: &str) -> Option<Arc<Channel>> {
        self.part(channel).lock().get(channel).cloned()
    }

    /// Who comes and goes in all of them.
    #[must_use]
    pub fn moves(&self) -> &Arc<Moves> {
        &self.kept.moves
    }

    /// Every channel in use.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Channel>> {
        let parts = self.parts.iter();
        parts.flat_map(|part| part.lock().values().cloned().collect::<Vec<_>>()).collect()
    }

    /// The channels with a log that know where it stands: those that somebody listens to, or did a
    /// moment ago.
    #[must_use]
    pub fn logs(&self) -> Vec<Arc<Channel>> {
        self.based(|source| matches!(source, Source::Log(_)))
    }

    /// The same of those whose offsets come from Redis.
    #[must_use]
    pub fn shared(&self) -> Vec<Arc<Channel>> {
        self.based(|source| source == Source::Shared)
    }

    fn based(&self, wanted: impl Fn(Source) -> bool) -> Vec<Arc<Channel>> {
        let mut based = Vec::new();
        for part in &self.parts {
            let part = part.lock();
            let live = part.values().filter(|channel| wanted(channel.source()));
            based.extend(live.filter(|channel| channel.is_based()).cloned());
        }
        based
    }

    /// The life of a channel is over: whoever comes from now on begins anew, and who is in it must
    /// be told to.
    pub fn end(&self, channel: &Arc<Channel>) {
        channel.end();
        let mut part = self.part(channel.name()).lock();
        if part.get(channel.name()).is_some_and(|found| Arc::ptr_eq(found, channel)) {
            part.remove(channel.name());
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// All channels with a log stood where the store had them then, or are being brought there.
    pub fn compared(&self, at: Instant) {
        *self.compared.lock() = at;
    }

    /// True while what was delivered in channels with a log is what happened, up to a moment ago.
    #[must_use]
    pub fn is_abreast(&self) -> bool {
        let most = if self.bus.is_up() { ABREAST_HEARING } else { ABREAST_DEAF };
        self.compared.lock().elapsed() < most
    }

    /// The life of the offsets of all logs.
    #[must_use]
    pub fn log_epoch(&self) -> Arc<str> {
        self.log_epoch.lock().clone()
    }

    /// The offsets of all logs have a new life; true when it is another than before. Channels of
    /// the old one are forgotten: who is in them must be told to come in again.
    pub fn begin_log_epoch(&self, epoch: &Arc<str>) -> bool {
        let before = std::mem::replace(&mut *self.log_epoch.lock(), epoch.clone());
        if before == *epoch {
            return false;
        }
        for part in &self.parts {
            let mut part = part.lock();
            let all = part.len();
            part.retain(|_, channel| channel.log().is_none());
            self.count.fetch_sub(all - part.len(), Ordering::Relaxed);
        }
        true
    }

    /// Forgets unused channels until `stop`.
    pub async fn sweep(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
        for part in self.parts.iter().cycle() {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                now = ticks.tick() => self.sweep_part(part, now),
            }
        }
    }

    fn sweep_part(&self, part: &Part, now: Instant) {
        let mut part = part.lock();
        let before = part.len();
        // Asked first, for it also drops what is too old in channels that are in use.
        part.retain(|_, channel| !channel.is_idle(now) || Arc::strong_count(channel) > 1);
        self.count.fetch_sub(before - part.len(), Ordering::Relaxed);
    }

    fn part(&self, name: &str) -> &Part {
        let hash = usize::try_from(self.hasher.hash_one(name) >> 32).unwrap_or_default();
        &self.parts[hash % PARTS]
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{channel, hub};
    use super::*;
    use crate::channel::{Arrival, Since};
    use crate::protocol::{Json, Position, Publication};

    fn lobby(hub: &Hub) -> Arc<Channel> {
        channel(hub, "lobby")
    }

    fn sweep(hub: &Hub) {
        hub.parts.iter().for_each(|part| hub.sweep_part(part, Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_outlives_a_broken_connection_and_a_channel_not_its_use() {
        let hub = hub();
        let epoch = lobby(&hub).epoch();
        tokio::time::advance(Duration::from_secs(59)).await;
        sweep(&hub);
        assert_eq!(lobby(&hub).epoch(), epoch);
        tokio::time::advance(Duration::from_secs(1)).await;
        sweep(&hub);
        assert_eq!(hub.channels(), 0);
        assert_ne!(lobby(&hub).epoch(), epoch);
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_stays_while_it_keeps_something() {
        let hub = hub();
        let publication = Publication::new(Json::parse(b"1").unwrap());
        let position = lobby(&hub).publish(publication, None);
        tokio::time::advance(Duration::from_secs(300)).await;
        sweep(&hub);
        assert_eq!(lobby(&hub).top(), position);
        tokio::time::advance(Duration::from_secs(1)).await;
        sweep(&hub);
        assert_eq!(hub.channels(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_with_a_log_goes_a_minute_after_the_last_one_left_whatever_it_keeps() {
        let hub = hub();
        let name = ChannelName::of_user("ann");
        let channel = hub.channel(&name, hub.options(&name).unwrap()).unwrap();
        let (epoch, publication) = (channel.epoch(), Publication::new(Json::parse(b"1").unwrap()));
        channel.base(&Position { epoch: epoch.clone(), offset: 6 }, 1);
        let publication = Publication { offset: 7, ..publication };
        channel.deliver(Arrival { epoch, publication, amends: Vec::new() }, None);
        assert_eq!(channel.history(Since::Oldest, 9).publications.len(), 1);
        drop(channel);
        tokio::time::advance(Duration::from_secs(59)).await;
        sweep(&hub);
        assert_eq!(hub.logs().len(), 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        sweep(&hub);
        assert_eq!(hub.channels(), 0, "ring and topic go together");
    }

    #[tokio::test]
    async fn a_channel_whose_life_is_over_makes_room_for_the_next_one() {
        let hub = hub();
        let before = lobby(&hub);
        hub.end(&before);
        let after = lobby(&hub);
        assert!(before.is_over() && !after.is_over() && !Arc::ptr_eq(&before, &after));
        // Said twice, it ends nobody else.
        hub.end(&before);
        assert!(Arc::ptr_eq(&after, &lobby(&hub)));
        assert_eq!(hub.channels(), 1);
    }
}
