//! What channels miss is read from the store: a gap at once, a lost last event by comparing heads.
//!
//! One task. A gap is given a moment, for what is missing is mostly on its way. The heads of the
//! logs that somebody listens to are compared every five seconds, and as soon as the store is back
//! after it was away. Whatever it reads is delivered like any other arrival, in order and once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::bus::Bus;
use crate::channel::{Channel, Hub};
use crate::store::{self, Range, State, Store};

/// How long what is missing may be on its way.
const PATIENCE: Duration = Duration::from_millis(50);

/// Between two comparisons of all heads.
const COMPARE_INTERVAL: Duration = Duration::from_secs(5);

/// The same while the bus is away and nothing of other nodes is heard.
const DEAF_INTERVAL: Duration = Duration::from_secs(1);

/// How often it is looked whether the store is back.
const TICK: Duration = Duration::from_millis(250);

/// Heads asked for at once.
const HEADS_MAX: usize = 1000;

/// Events read at once.
const PAGE: usize = 256;

/// The task that repairs.
#[derive(Debug)]
pub struct Repair {
    hub: Arc<Hub>,
    store: Arc<Store>,
    missing: mpsc::Receiver<Arc<Channel>>,
    /// What may still come by itself, in the order of the times when it is fetched.
    awaited: VecDeque<Awaited>,
    /// Something may have been missed: heads are compared at once.
    soon: Arc<Notify>,
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

/// What a comparison found besides what it repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing.
    Order,
    /// The offsets have a new life: nobody's position counts any more.
    NewEpoch,
}

impl Repair {
    pub(super) fn new(
        hub: Arc<Hub>,
        store: Arc<Store>,
        missing: mpsc::Receiver<Arc<Channel>>,
        bus: Bus,
        soon: Arc<Notify>,
    ) -> Self {
        Self { hub, store, missing, awaited: VecDeque::new(), soon, bus }
    }

    /// Repairs until `stop`; `begin_again` is called when nobody's position counts any more.
    pub async fn run(mut self, stop: CancellationToken, begin_again: impl Fn()) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut compared, mut was_down) = (Instant::now(), false);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                // The comparison first: gaps that never end must not keep it from its turn.
                () = self.soon.notified() => {
                    compared = Instant::now();
                    self.compare_all(&begin_again).await;
                }
                _ = ticks.tick() => {
                    let down = self.store.state() != State::Up;
                    let back = std::mem::replace(&mut was_down, down) && !down;
                    if !down && (back || compared.elapsed() >= self.interval()) {
                        compared = Instant::now();
                        self.compare_all(&begin_again).await;
                    }
                }
                () = due(self.awaited.front()) => {
                    if let Some(Awaited { channel, upto, .. }) = self.awaited.pop_front() {
                        report(self.fetch(&channel, upto).await);
                    }
                }
                Some(channel) = self.missing.recv() => {
                    if let Some(upto) = channel.waits_for() {
                        self.await_missing(channel, upto);
                    }
                }
            }
        }
    }

    /// How long heads are left uncompared: what other nodes commit comes by the bus, if it is there.
    fn interval(&self) -> Duration {
        if self.bus.is_up() { COMPARE_INTERVAL } else { DEAF_INTERVAL }
    }

    async fn compare_all(&mut self, begin_again: &impl Fn()) {
        match self.compare().await {
            Ok(Found::NewEpoch) => begin_again(),
            Ok(Found::Order) => {}
            Err(error) => report(Err(error)),
        }
    }

    fn await_missing(&mut self, channel: Arc<Channel>, upto: u64) {
        self.awaited.push_back(Awaited { channel, upto, due: Instant::now() + PATIENCE });
    }

    /// Compares where the store and the channels stand.
    async fn compare(&mut self) -> Result<Found, store::Error> {
        if self.hub.begin_log_epoch(&self.store.epoch().await?.into()) {
            tracing::warn!("the offsets of all logs have a new life");
            return Ok(Found::NewEpoch);
        }
        let channels = self.hub.logs();
        for channels in channels.chunks(HEADS_MAX) {
            // Before the store is asked: what it says is not older than this.
            let tops: Vec<u64> = channels.iter().map(|channel| channel.top().offset).collect();
            let logs: Vec<_> = channels.iter().filter_map(|channel| channel.log()).collect();
            let heads = self.store.heads(&logs).await?;
            for ((channel, top), head) in channels.iter().zip(tops).zip(heads) {
                channel.revise(head.revision);
                if head.offset < top {
                    tracing::error!(
                        channel = %channel.name(), top, head = head.offset,
                        "the database lost what was acknowledged: its offsets get a new life"
                    );
                    self.store.begin_epoch().await?;
                    let began = self.hub.begin_log_epoch(&self.store.epoch().await?.into());
                    return Ok(if began { Found::NewEpoch } else { Found::Order });
                }
                if head.offset > channel.top().offset {
                    // It may be committed and not told yet.
                    self.await_missing(channel.clone(), head.offset);
                }
            }
        }
        Ok(Found::Order)
    }

    /// Delivers what did not come by itself, up to an offset that is in the store.
    async fn fetch(&self, channel: &Channel, upto: u64) -> Result<(), store::Error> {
        let Some(log) = channel.log() else { return Ok(()) };
        let mut last = channel.top().offset;
        if last >= upto {
            return Ok(());
        }
        while last < upto {
            let events = self.store.page(log, Range::After(last), PAGE).await?;
            let Some(newest) = events.last() else { break };
            last = newest.offset;
            tracing::debug!(channel = %channel.name(), events = events.len(), "repaired");
            for event in events {
                channel.deliver(event.publication(), Vec::new(), None);
            }
        }
        // Changes to what is kept may have come with events that were missed.
        channel.forget();
        Ok(())
    }
}

/// Ends when the first of those that are awaited is; never, when nothing is.
async fn due(first: Option<&Awaited>) {
    match first {
        Some(first) => tokio::time::sleep_until(first.due).await,
        None => std::future::pending().await,
    }
}

fn report(result: Result<(), store::Error>) {
    if let Err(error) = result {
        // The next comparison tries again.
        tracing::debug!(%error, "what is missing could not be read");
    }
}
