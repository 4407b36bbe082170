//! What channels miss is read from where it got its offset: a gap at once, a lost last publication
//! by comparing positions.
//!
//! One task for each [`Origin`], the store and Redis, so that neither waits for the other. A gap is
//! given a moment, for what is missing is mostly on its way. The positions of the channels that
//! somebody listens to are compared every five seconds, and as soon as the origin is back after it
//! was away. Whatever is read is delivered like any other arrival, in order and once.

mod logs;
mod shared;
mod verify;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(super) use logs::Logs;
pub(super) use shared::Shared;

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

/// Publications read at once.
const PAGE: usize = 256;

/// Where offsets come from, and what got them can be read.
pub(super) trait Origin: Send + Sync + 'static {
    /// Why it could not be asked.
    type Error: std::fmt::Display;

    /// True while it makes sense to ask.
    fn is_up(&self) -> bool;

    /// Compares where the channels of `hub` stand.
    async fn compare(&self, hub: &Hub) -> Result<Found, Self::Error>;

    /// Delivers what did not come by itself, up to an offset that was given.
    async fn fetch(&self, channel: &Channel, upto: u64) -> Result<Fetched, Self::Error>;
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Those in all channels with a log.
    Logs,
    /// Those in the channels that say so of themselves.
    Channels,
}

/// Where to say that something may be missing; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Alarm {
    gaps: mpsc::Sender<(Arc<Channel>, Option<u64>)>,
    soon: Arc<Notify>,
}

/// The tasks that repair, not running yet.
#[derive(Debug)]
pub struct Repair {
    logs: Task<Logs>,
    shared: Option<Task<Shared>>,
    verify: Verify,
}

#[derive(Debug)]
struct Task<O> {
    hub: Arc<Hub>,
    origin: O,
    missing: mpsc::Receiver<(Arc<Channel>, Option<u64>)>,
    /// What may still come by itself, in the order of the times when it is fetched.
    awaited: VecDeque<Awaited>,
    /// What could not be read and may come by itself all the same.
    last_hopes: VecDeque<Awaited>,
    /// Something may have been missed: positions are compared at once.
    soon: Arc<Notify>,
    /// The last comparison did not say everything.
    is_unsure: bool,
    bus: Bus,
}

/// Something that a channel misses.
#[derive(Debug)]
struct Awaited {
    channel: Arc<Channel>,
    /// It is fetched up to here.
    upto: u64,
    due: Instant,
}

/// What a task does next.
enum Turn {
    Compare,
    Tick,
    Fetch(Awaited),
    LastHope(Awaited),
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
        if self.gaps.try_send((channel, upto)).is_err() {
            tracing::warn!("many channels miss something: their positions will tell");
        }
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
        let verify = verify.run(stop.clone(), || begin_again(Over::Channels));
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
        let (awaited, last_hopes) = (VecDeque::new(), VecDeque::new());
        let (hub, bus) = (hub.clone(), bus.clone());
        let alarm = Alarm { gaps, soon: soon.clone() };
        let is_unsure = false;
        (Self { hub, origin, missing, awaited, last_hopes, soon, is_unsure, bus }, alarm)
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
                awaited = due(&mut self.awaited) => Turn::Fetch(awaited),
                awaited = due(&mut self.last_hopes) => Turn::LastHope(awaited),
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
                Turn::Fetch(awaited) => self.fetch(awaited).await,
                Turn::LastHope(awaited) => self.give_up(awaited, &begin_again).await,
                Turn::Missing(channel, upto) => {
                    if let Some(upto) = upto.or_else(|| channel.waits_for()) {
                        self.await_missing(channel, upto);
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
                    self.await_missing(channel, upto);
                }
                if is_over {
                    begin_again();
                }
            }
            Err(error) => report(&error),
        }
    }

    fn await_missing(&mut self, channel: Arc<Channel>, upto: u64) {
        self.awaited.push_back(Awaited { channel, upto, due: Instant::now() + PATIENCE });
    }

    async fn fetch(&mut self, awaited: Awaited) {
        match self.origin.fetch(&awaited.channel, awaited.upto).await {
            Ok(Fetched::All) => {}
            Ok(Fetched::Lost) => {
                let due = Instant::now() + LAST_PATIENCE;
                self.last_hopes.push_back(Awaited { due, ..awaited });
            }
            Err(error) => {
                self.is_unsure = true;
                report(&error);
            }
        }
    }

    async fn give_up(&mut self, Awaited { channel, upto, .. }: Awaited, begin_again: &impl Fn()) {
        if channel.is_over() {
            return;
        }
        match self.origin.fetch(&channel, upto).await {
            Ok(Fetched::All) => {}
            Ok(Fetched::Lost) => {
                tracing::warn!(channel = %channel.name(), "missed publications are gone");
                self.hub.end(&channel);
                begin_again();
            }
            Err(error) => report(&error),
        }
    }
}

/// The first of those that are awaited, when it is due; never, when nothing is.
async fn due(awaited: &mut VecDeque<Awaited>) -> Awaited {
    match awaited.front() {
        Some(first) => tokio::time::sleep_until(first.due).await,
        None => std::future::pending().await,
    }
    awaited.pop_front().expect("the first one was waited for")
}

fn report(error: &impl std::fmt::Display) {
    // The next comparison tries again.
    tracing::debug!(%error, "what is missing could not be read");
}
