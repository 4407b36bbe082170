//! One channel while it is in use: its position, its history, who is in it, and its fan-out.
//!
//! In a channel in memory [`Channel::publish`] gives out the offsets; elsewhere the store does, or
//! Redis, and [`Channel::deliver`] puts what comes from there in order.
//!
//! Invariants: the offset is assigned and the frames are queued under one lock, so every shard
//! sees the order of the offsets; the lock covers encoding and queueing, never a socket or an
//! await. Leaving is `Drop` of the [`Subscription`].

mod recalled;
mod roster;
mod seated;
mod sequenced;
mod subscription;
mod word;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use chassis::delivery::{Class, Delivery, Frame, TopicId};
use parking_lot::Mutex;
use tokio::time::Instant;

pub use recalled::Gap;
pub use roster::{CROWD, Leaving};
pub use sequenced::{Delivery as Delivered, Source};
pub use subscription::Subscription;
pub use word::Verdict;

use super::moves::Moves;
use super::order::Order;
use super::outlet::{Audience, OUTLETS, index};
use super::seats::Seats;
use super::{Changes, ChannelName, History, Options, Page, Since};
use crate::fanout::bus::Listening;
use crate::outbound::Format;
use crate::protocol::{Encoding, Position, Publication, encode_publication};
use roster::Roster;

/// How long a channel that nobody is in and that keeps nothing keeps its epoch: long enough for
/// its clients to come back after a broken connection and find that they have missed nothing.
const EPOCH_KEPT: Duration = Duration::from_secs(60);

/// How long a channel whose offsets come from elsewhere is listened to when nobody is in it any
/// more: what those miss who come back meanwhile is in memory.
const RING_KEPT: Duration = Duration::from_secs(60);

/// People of all rooms that are known: about 50 MB.
const SEATS_MAX: usize = 500_000;

/// One channel; shared by its subscriptions and the shards that deliver it.
pub struct Channel {
    name: Arc<str>,
    source: Source,
    options: Arc<Options>,
    /// Not known yet while nobody has asked where a shared channel stands.
    epoch: OnceLock<Arc<str>>,
    /// The topic ids of its outlets follow this one.
    first_topic: u64,
    kept: Arc<Kept>,
    /// What other nodes say in it is heard; `None` for a node alone.
    listening: Option<Listening>,
    /// The highest offset handed to delivery; readable without the lock.
    published: AtomicU64,
    /// With a log: the revision of what is kept here.
    revision: AtomicU64,
    /// Two publications of one offset have come.
    doubted: AtomicBool,
    /// Its life has ended: who is in it must be told to come again.
    over: AtomicBool,
    state: Mutex<State>,
}

/// What all channels have together, and what they keep together and may.
#[derive(Debug)]
pub(super) struct Kept {
    /// The way out.
    pub(super) delivery: Delivery,
    /// Who comes and goes in them.
    pub(super) moves: Arc<Moves>,
    pub(super) bytes: AtomicUsize,
    pub(super) bytes_max: usize,
    /// What happened in rooms.
    pub(super) changes: Changes,
    /// People of rooms that are known.
    pub(super) seats: AtomicUsize,
}

struct State {
    history: History,
    /// With offsets from elsewhere: what is next.
    order: Order,
    /// In a feed: where its reader says it stands, until the store was asked.
    word: Option<u64>,
    /// With a log: how often what is kept was changed or forgotten.
    changed: u64,
    /// In a room: who is what.
    seats: Seats,
    /// How much of the history is counted in [`Kept`], and
    counted: usize,
    /// how many of the people.
    seats_counted: usize,
    /// Members by shard and outlet: a frame goes only where somebody is.
    members: Box<[[u32; OUTLETS]]>,
    /// Who is in it; there is none before anybody was, and in a feed never.
    roster: Option<Box<Roster>>,
    /// When somebody was in it last.
    left_at: Instant,
}

/// What a subscriber learns about the time before its subscription.
#[derive(Debug)]
pub enum Recovery {
    /// It asked for nothing.
    Fresh,
    /// Everything since its position.
    Recovered(Vec<Publication>),
    /// Its position cannot be continued.
    Lost,
}

impl Channel {
    pub(super) fn new(
        name: &ChannelName,
        options: Arc<Options>,
        origin: (Source, Option<Arc<str>>),
        first_topic: u64,
        kept: Arc<Kept>,
        listening: Option<Listening>,
    ) -> Self {
        let (source, known) = origin;
        let state = State {
            history: History::new(known.clone().unwrap_or_default()),
            order: Order::default(),
            word: None,
            changed: 0,
            seats: Seats::default(),
            counted: 0,
            seats_counted: 0,
            members: vec![[0; OUTLETS]; kept.delivery.shards()].into(),
            roster: None,
            left_at: Instant::now(),
        };
        let (published, revision) = (AtomicU64::new(0), AtomicU64::new(0));
        let state = Mutex::new(state);
        let name = name.shared().clone();
        let epoch = known.map_or_else(OnceLock::new, OnceLock::from);
        Self {
            name,
            source,
            options,
            epoch,
            first_topic,
            kept,
            listening,
            published,
            revision,
            doubted: AtomicBool::new(false),
            over: AtomicBool::new(false),
            state,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What may be done in it.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The life of its offsets; empty until that is known.
    #[must_use]
    pub fn epoch(&self) -> Arc<str> {
        self.epoch.get().cloned().unwrap_or_default()
    }

    /// Waits until what other nodes say in it is heard; false when it is not known when that is.
    pub async fn is_heard(&self) -> bool {
        match &self.listening {
            Some(listening) => listening.confirmed().await,
            None => true,
        }
    }

    pub(super) fn topic(&self, outlet: usize) -> TopicId {
        TopicId(self.first_topic + outlet as u64)
    }

    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// Puts a publication before every subscriber of a channel in memory; where history is kept it
    /// gets an offset.
    pub fn publish(&self, mut publication: Publication, accepted: Option<Instant>) -> Position {
        let mut state = self.state.lock();
        if self.options.history_size > 0 {
            let now = accepted.unwrap_or_else(Instant::now);
            state.history.append(&mut publication, &self.options, now);
            self.kept.count(&mut state);
        }
        self.send(&state, &publication, accepted);
        Position { offset: publication.offset, epoch: self.epoch() }
    }

    fn send(&self, state: &State, publication: &Publication, accepted: Option<Instant>) {
        let frame =
            |bytes| Frame { bytes, class: Class::Event, offset: publication.offset, accepted };
        self.fan_out(state, Audience::Everyone, frame, |encoding, out| {
            encode_publication(encoding, &self.name, publication, out);
        });
        self.published.store(publication.offset, Ordering::Release);
    }

    /// Encodes once for each encoding that is listened to, frames once for each format.
    fn fan_out(
        &self,
        state: &State,
        audience: Audience,
        frame: impl Fn(Bytes) -> Frame,
        encode: impl Fn(Encoding, &mut Vec<u8>),
    ) {
        let mut messages: [Option<Vec<u8>>; 2] = [None, None];
        for format in Format::ALL {
            let outlet = index(format, audience);
            if state.members.iter().all(|members| members[outlet] == 0) {
                continue;
            }
            let encoding = format.encoding();
            let message = messages[encoding as usize].get_or_insert_with(|| {
                let mut message = Vec::with_capacity(512);
                encode(encoding, &mut message);
                message
            });
            let prepared = frame(format.frame(message));
            for (shard, members) in state.members.iter().enumerate() {
                if members[outlet] > 0 {
                    self.kept.delivery.publish(shard, self.topic(outlet), prepared.clone());
                }
            }
        }
    }

    /// Puts a publication before every subscriber that nobody can ask for later.
    pub fn ephemeral(&self, publication: &Publication, class: Class) {
        let state = self.state.lock();
        let frame = |bytes| Frame { bytes, class, offset: 0, accepted: None };
        self.fan_out(&state, Audience::Everyone, frame, |encoding, out| {
            encode_publication(encoding, &self.name, publication, out);
        });
    }

    /// The position a subscriber starts from, and what it missed since `from`.
    #[must_use]
    pub fn recover(&self, from: Option<&Position>) -> (Position, Recovery) {
        let mut state = self.state.lock();
        state.history.expire(&self.options, Instant::now());
        let recovery = match from {
            None => Recovery::Fresh,
            Some(position) => match state.history.missed(position) {
                Some(publications) => Recovery::Recovered(publications),
                None => Recovery::Lost,
            },
        };
        (state.history.top(), recovery)
    }

    /// A page of the history.
    #[must_use]
    pub fn history(&self, since: Since, limit: usize) -> Page {
        let mut state = self.state.lock();
        state.history.expire(&self.options, Instant::now());
        state.history.page(since, limit)
    }

    /// A page, if all of it is kept here.
    #[must_use]
    pub fn whole_page(&self, since: Since, limit: usize) -> Option<Page> {
        let mut state = self.state.lock();
        state.history.expire(&self.options, Instant::now());
        state.history.whole_page(since, limit)
    }

    /// The newest position.
    #[must_use]
    pub fn top(&self) -> Position {
        self.state.lock().history.top()
    }

    /// True when nobody would miss it: it keeps nothing worth keeping.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        state.history.expire(&self.options, now);
        self.kept.count(&mut state);
        let kept = match self.source {
            Source::Memory if !state.history.is_empty() => return false,
            Source::Memory if self.options.history_size == 0 => Duration::ZERO,
            Source::Memory => EPOCH_KEPT,
            Source::Log(_) | Source::Shared => RING_KEPT,
        };
        state.members.iter().flatten().all(|&members| members == 0)
            && now.saturating_duration_since(state.left_at) >= kept
    }
}

impl Kept {
    /// False when all histories together are as large as they may be.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < self.bytes_max
    }

    /// True when no more people can be known.
    fn is_crowded(&self) -> bool {
        self.seats.load(Ordering::Relaxed) >= SEATS_MAX
    }

    /// Follows the history and the people of one channel.
    fn count(&self, state: &mut State) {
        let bytes = state.history.bytes();
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_sub(state.counted, Ordering::Relaxed);
        state.counted = bytes;
        let seats = state.seats.len();
        self.seats.fetch_add(seats, Ordering::Relaxed);
        self.seats.fetch_sub(state.seats_counted, Ordering::Relaxed);
        state.seats_counted = seats;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.kept.bytes.fetch_sub(state.counted, Ordering::Relaxed);
        self.kept.seats.fetch_sub(state.seats_counted, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channel").field("name", &self.name).finish_non_exhaustive()
    }
}
