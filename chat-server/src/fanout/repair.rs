//! What channels miss is read from where it got its offset: a gap at once, a lost last publication
//! by comparing positions.
//!
//! One task for each [`Origin`], the store and Redis, so that neither waits for the other. A gap is
//! given a moment, for what is missing is mostly on its way. The positions of the channels that
//! somebody listens to are compared every five seconds, and as soon as the origin is back after it
//! was away. Whatever is read is delivered like any other arrival, in order and once.

mod logs;
mod misses;
mod shared;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use logs::Logs;
pub(super) use shared::Shared;

use misses::{Awaited, Misses};
use verify::Verify;

use super::bus::Bus;
use super::words::Words;
use crate::channel::{Channel, Hub};
use crate::nodes::Log;
use crate::store::Store;

/// How long what is missing may be on its way.
const PATIENCE: Duration = Duration::from_millis(50);

/// The same for what is no longer where it got its offset: there it cannot be had any more, and
/// who is in the channel would have to come again.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// Between two comparisons of all positions.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// The same while the bus is away and nothing of other nodes is heard, and after a comparison that
/// did not say everything.
const DEAF_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether the origin is back.
const TICK: Duration = Duration::from_millis(250);

/// Channels that wait for something missing; more are found by the comparison of positions.
const GAPS_MAX: usize = 1024;

/// Channels that are read at the same time: those who missed something in one do not wait for a
/// long one, and the origin is left to those who ask it for themselves.
const FETCHED_AT_ONCE: usize = 8;

/// How often it is told that there were more gaps than [`GAPS_MAX`].
const OVERFLOW_TOLD: Duration = Duration::from_secs(10);

/// Publications read at once.
const PAGE: usize = 256;

/// Where offsets come from, and what got them can be read.
pub(super) trait Origin: Send + Sync + 'static {
    /// Why it could not be asked.
    type Error: std::fmt::Display + Send;

    /// True while it makes sense to ask.
    fn is_up(&self) -> bool;

    /// Compares where the channels of `hub` stand.
    async fn compare(&self, hub: &Hub) -> Result<Found, Self::Error>;

    /// Delivers what did not come by itself, up to an offset that was given.
    fn fetch(
        &self,
        channel: &Channel,
        upto: u64,
    ) -> impl Future<Output = Result<Fetched, Self::Error>> + Send;
}

/// What a comparison found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Channels that are behind, and where they should be.
    pub(super) behind: Vec<(Arc<Channel>, u64)>,
    /// Channels were ended: nobody's position in them counts any more.
    pub(super) is_over: bool,
    /// Some could not be compared.
    pub(super) is_partial: bool,
}

/// What became of what was missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It was delivered.
    All,
    /// Some of it can no longer be read.
    Lost,
}

/// Whose positions count no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// Those in all channels with a log.
    Logs,
    /// Those in the feed of one user.
    Feed(Arc<str>),
    /// Those in the channels that say so of themselves.
    Channels,
}

/// Where to say that something may be missing; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Alarm {
    gaps: mpsc::Sender<(Arc<Channel>, Option<u64>)>,
    soon: Arc<Notify>,
    /// When it was told last that there were too many.
    overflown: Arc<Mutex<Option<Instant>>>,
}

/// The tasks that repair, not running yet.
#[derive(Debug)]
pub struct Repair {
    logs: Task<Logs>,
    shared: Option<Task<Shared>>,
    verify: Verify,
}

#[derive(Debug)]
struct Task<O: Origin> {
    hub: Arc<Hub>,
    origin: Arc<O>,
    missing: mpsc::Receiver<(Arc<Channel>, Option<u64>)>,
    misses: Misses,
    /// What is being read.
    fetches: JoinSet<(Awaited, Result<Fetched, O::Error>)>,
    /// Something may have been missed: positions are compared at once.
    soon: Arc<Notify>,
    /// The last comparison did not say everything.
    is_unsure: bool,
    bus: Bus,
}

/// What a task does next.
enum Turn<E> {
    Compare,
    Tick,
    Fetch(Awaited),
    Fetched(Result<(Awaited, Result<Fetched, E>), JoinError>),
    Missing(Arc<Channel>, Option<u64>),
}

impl Alarm {
    /// Something before what came last in a channel is missing.
    pub(super) fn gap(&self, channel: Arc<Channel>) {
        self.miss(channel, None);
    }

    /// A channel misses what comes before it stands there.
    pub(super) fn behind(&self, channel: Arc<Channel>, upto: u64) {
        self.miss(channel, Some(upto));
    }

    fn miss(&self, channel: Arc<Channel>, upto: Option<u64>) {
        if self.gaps.try_send((channel, upto)).is_err() && self.is_news(Instant::now()) {
            tracing::warn!("many channels miss something: their positions will tell");
        }
    }

    /// Thousands of gaps come at once: that there are is told now and then.
    fn is_news(&self, now: Instant) -> bool {
        let mut told = self.overflown.lock();
        let is_news = told.is_none_or(|told| now.duration_since(told) >= OVERFLOW_TOLD);
        if is_news {
            *told = Some(now);
        }
        is_news
    }

    /// Something may have been missed: where the channels stand is compared.
    pub(super) fn compare_soon(&self) {
        self.soon.notify_one();
    }
}

impl Repair {
    pub(super) fn new(
        hub: &Arc<Hub>,
        bus: &Bus,
        store: Arc<Store>,
        shared: Option<Arc<Log>>,
        words: Arc<Words>,
    ) -> (Self, Alarm, Option<Alarm>) {
        let (logs, of_logs) = Task::new(hub, bus, Logs(store.clone()));
        let verify = Verify { hub: hub.clone(), store, words, alarm: of_logs.clone() };
        let shared = shared.map(|log| Task::new(hub, bus, Shared(log)));
        let (shared, of_shared) = shared.unzip();
        (Self { logs, shared, verify }, of_logs, of_shared)
    }

    /// Repairs until `stop`; `begin_again` is called when somebody's position counts no more.
    pub async fn run(self, stop: CancellationToken, begin_again: impl Fn(Over)) {
        let Self { logs, shared, verify } = self;
        let verify = verify.run(stop.clone(), |user| begin_again(Over::Feed(user)));
        let logs = logs.run(stop.clone(), || begin_again(Over::Logs));
        let shared = async {
            if let Some(shared) = shared {
                shared.run(stop.clone(), || begin_again(Over::Channels)).await;
            }
        };
        tokio::join!(logs, shared, verify);
    }
}

impl<O: Origin> Task<O> {
    fn new(hub: &Arc<Hub>, bus: &Bus, origin: O) -> (Self, Alarm) {
        let (gaps, missing) = mpsc::channel(GAPS_MAX);
        let soon = Arc::new(Notify::new());
        let (hub, bus, origin) = (hub.clone(), bus.clone(), Arc::new(origin));
        let alarm = Alarm { gaps, soon: soon.clone(), overflown: Arc::default() };
        let (misses, fetches, is_unsure) = (Misses::default(), JoinSet::new(), false);
        (Self { hub, origin, missing, misses, fetches, soon, is_unsure, bus }, alarm)
    }

    async fn run(mut self, stop: CancellationToken, begin_again: impl Fn()) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut compared, mut was_down) = (Instant::now(), false);
        loop {
            let turn = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // The comparison first: gaps that never end must not keep it from its turn.
                () = self.soon.notified() => Turn::Compare,
                _ = ticks.tick() => Turn::Tick,
                Some(fetched) = self.fetches.join_next() => Turn::Fetched(fetched),
                awaited = self.misses.due(), if self.fetches.len() < FETCHED_AT_ONCE => {
                    Turn::Fetch(awaited)
                }
                Some((channel, upto)) = self.missing.recv() => Turn::Missing(channel, upto),
            };
            match turn {
                Turn::Compare => {
                    compared = Instant::now();
                    self.compare(&begin_again).await;
                }
                Turn::Tick => {
                    let down = !self.origin.is_up();
                    let back = std::mem::replace(&mut was_down, down) && !down;
                    if !down && (back || compared.elapsed() >= self.interval()) {
                        compared = Instant::now();
                        self.compare(&begin_again).await;
                    }
                }
                Turn::Fetch(awaited) => self.fetch(awaited),
                Turn::Fetched(Ok((awaited, fetched))) => {
                    self.fetched(&awaited, fetched, &begin_again);
                }
                // None is cancelled before this ends.
                Turn::Fetched(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                Turn::Missing(channel, upto) => {
                    if let Some(upto) = upto.or_else(|| channel.waits_for()) {
                        self.misses.add(channel, upto);
                    }
                }
            }
        }
    }

    /// How long positions are left uncompared: what other nodes do comes by the bus, if it is
    /// there.
    fn interval(&self) -> Duration {
        match self.bus.is_up() && !self.is_unsure {
            true => COMPARE_INTERVAL,
            false => DEAF_INTERVAL,
        }
    }

    async fn compare(&mut self, begin_again: &impl Fn()) {
        self.is_unsure = true;
        match self.origin.compare(&self.hub).await {
            Ok(Found { behind, is_over, is_partial }) => {
                self.is_unsure = is_partial;
                for (channel, upto) in behind {
                    // It may have got its offset and not be told yet.
                    self.misses.add(channel, upto);
                }
                if is_over {
                    begin_again();
                }
            }
            Err(error) => report(&error),
        }
    }

    /// Reads beside the comparison, which does not wait for it.
    fn fetch(&mut self, awaited: Awaited) {
        let origin = self.origin.clone();
        self.fetches.spawn(async move {
            let fetched = match awaited.channel.is_over() {
                // Nobody's position in it counts any more.
                true => Ok(Fetched::All),
                false => origin.fetch(&awaited.channel, awaited.upto).await,
            };
            (awaited, fetched)
        });
    }

    fn fetched(
        &mut self,
        awaited: &Awaited,
        fetched: Result<Fetched, O::Error>,
        begin_again: &impl Fn(),
    ) {
        if let Err(error) = &fetched {
            self.is_unsure = true;
            report(error);
        }
        let fetched = fetched.ok();
        if fetched == Some(Fetched::Lost) && awaited.is_last {
            tracing::warn!(channel = %awaited.channel.name(), "missed publications are gone");
            self.hub.end(&awaited.channel);
            begin_again();
        }
        self.misses.done(awaited, fetched);
    }
}

fn report(error: &impl std::fmt::Display) {
    // The next comparison tries again.
    tracing::debug!(%error, "what is missing could not be read");
}
