//! The coordinator of the workers: starts them, tells all of them when to begin, adds up what they
//! counted.
//!
//! ```text
//! hand      one worker, as a process of this program or as a thread of it
//! merge     samples of all workers, put together
//! measure   the whole course of a measurement, with what processes used in its window
//! ```
//!
//! A run has one result or an error: a worker that dies, goes silent or cannot go on ends it and is
//! named. Workers end when this end of their orders is gone, however that comes about, so that
//! nothing is left behind.

mod hand;
mod measure;
mod merge;

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

pub use self::hand::Hire;
use self::hand::{Hand, Heard};
pub use self::measure::{Measurement, measure};
use self::merge::Merge;
use super::clock;
use super::plan::{Part, Plan};
use super::scenario::Moment;
use super::tally::{Connections, Tally};
use super::worker::word::{Order, Report};

/// Longest that a worker says nothing: it speaks once a second, and a loop that is this far behind
/// measures nothing but itself.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// From the order to begin until the begin, so that every worker has it in time.
const LEAD: Duration = Duration::from_millis(200);

/// Reports that may wait here: a few seconds of all workers there can be.
const REPORTS_MAX: usize = 256;

/// Workers that do one measurement.
#[derive(Debug)]
pub struct Crew {
    plan: Plan,
    hands: Vec<Hand>,
    reports: mpsc::Receiver<Heard>,
    heard_at: Vec<Instant>,
}

impl Crew {
    /// Starts workers and gives each its part: they begin to make connections.
    ///
    /// # Errors
    /// When the plan cannot be carried out or a worker does not start.
    pub async fn hire(hire: &Hire, plan: Plan) -> Result<Self> {
        plan.check()?;
        let (tell, reports) = mpsc::channel(REPORTS_MAX);
        let mut hands = Vec::new();
        for worker in 0..plan.workers {
            let mut hand = Hand::start(worker, hire, tell.clone())?;
            let part = Part { worker, plan: plan.clone() };
            hand.tell(&Order::Prepare(Box::new(part))).await?;
            hands.push(hand);
        }
        let heard_at = vec![Instant::now(); hands.len()];
        Ok(Self { plan, hands, reports, heard_at })
    }

    /// The processes that make the load, this one included.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let mut all: Vec<u32> = self.hands.iter().map(Hand::process).collect();
        all.push(std::process::id());
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Waits until everyone is in their rooms or has failed.
    ///
    /// # Errors
    /// When that takes too long, or a worker fails.
    pub async fn ready(&mut self, tell: &mut (dyn FnMut(&Moment) + Send)) -> Result<Connections> {
        let deadline = Instant::now() + self.plan.entry.all;
        let mut stands = vec![Connections::default(); self.hands.len()];
        let mut ready = vec![false; self.hands.len()];
        while ready.contains(&false) {
            let Some((worker, report)) = self.hear(deadline).await? else {
                let sum = sum(&stands);
                bail!(
                    "after {:?} {} of {} connections are made: {} are not, so far",
                    self.plan.entry.all,
                    sum.entered,
                    self.plan.seats(),
                    sum.failed
                );
            };
            match report {
                Report::Entering(connections) => stands[worker] = connections,
                Report::Ready(connections) => {
                    stands[worker] = connections;
                    ready[worker] = true;
                }
                other => bail!("worker {worker} is not asked for {other:?} yet"),
            }
            tell(&coming(&sum(&stands)));
        }
        Ok(sum(&stands))
    }

    /// Lets everyone be idle for a while, and notices when a worker is gone.
    ///
    /// # Errors
    /// When a worker fails.
    pub async fn rest(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while self.hear(until).await?.is_some() {}
        Ok(())
    }

    /// Tells everyone to begin together; gives the time of the common clock at which they do.
    ///
    /// # Errors
    /// When a worker is gone.
    pub async fn begin(&mut self) -> Result<u64> {
        let at = clock::now() + clock::nanos(LEAD);
        for hand in &mut self.hands {
            hand.tell(&Order::Begin(at)).await?;
        }
        Ok(at)
    }

    /// Follows the load until everything that was published has come to everyone, or the drain is
    /// over.
    ///
    /// # Errors
    /// When a worker fails.
    pub async fn play(&mut self, tell: &mut (dyn FnMut(&Moment) + Send)) -> Result<Vec<Moment>> {
        let length = self.plan.warm + self.plan.measure;
        let last = length + self.plan.drain;
        let deadline = Instant::now() + LEAD + last + SILENCE_MAX;
        let (mut merge, mut moments) = (Merge::new(self.hands.len()), Vec::new());
        loop {
            let Some((_, report)) = self.hear(deadline).await? else {
                bail!("the load does not end");
            };
            let Report::Sample(sample) = report else { continue };
            let Some(whole) = merge.add(*sample) else { continue };
            let at = self.plan.sample(whole.number);
            let moment = merge::moment(&whole, at);
            tell(&moment);
            // While nothing more is published there is a sample ten times a second.
            if whole.number <= self.plan.samples() {
                moments.push(moment);
            }
            let all_there = whole.received.delivered >= whole.received.expected;
            if at >= last || (at >= length && !whole.busy && all_there) {
                return Ok(moments);
            }
        }
    }

    /// Ends the workers and adds up what they counted.
    ///
    /// # Errors
    /// When one of them does not say.
    pub async fn finish(mut self) -> Result<Tally> {
        for hand in &mut self.hands {
            hand.tell(&Order::Finish).await?;
        }
        let deadline = Instant::now() + SILENCE_MAX;
        let (mut tally, mut done) = (Tally::default(), 0);
        while done < self.hands.len() {
            let Some((_, report)) = self.hear(deadline).await? else {
                bail!("a worker does not say what it counted");
            };
            if let Report::Done(part) = report {
                tally.add(&part);
                done += 1;
            }
        }
        for hand in self.hands {
            hand.end().await?;
        }
        Ok(tally)
    }

    /// The next report of anybody; `None` when the deadline comes first.
    async fn hear(&mut self, deadline: Instant) -> Result<Option<(usize, Report)>> {
        let now = Instant::now();
        for (worker, heard_at) in self.heard_at.iter().enumerate() {
            // Reports that wait here were in time.
            let silent = self.reports.is_empty() && now > *heard_at + SILENCE_MAX;
            ensure!(!silent, "worker {worker} has said nothing for {SILENCE_MAX:?}");
        }
        let Ok(heard) = timeout_at(deadline.min(now + SILENCE_MAX), self.reports.recv()).await
        else {
            ensure!(now + SILENCE_MAX > deadline, "no worker says anything");
            return Ok(None);
        };
        let Some(Heard { worker, report }) = heard else { bail!("all workers are gone") };
        self.heard_at[worker] = Instant::now();
        match report {
            Ok(Report::Failed(why)) => bail!("worker {worker} cannot go on: {why}"),
            Ok(report) => Ok(Some((worker, report))),
            Err(why) => bail!("worker {worker} is gone: {why}"),
        }
    }
}

/// Waits until a time of the common clock.
pub(super) async fn until(at: u64) {
    sleep(Duration::from_nanos(at.saturating_sub(clock::now()))).await;
}

fn sum(stands: &[Connections]) -> Connections {
    stands.iter().fold(Connections::default(), |mut sum, connections| {
        sum.add(connections);
        sum
    })
}

/// How a run stands before its load begins.
fn coming(connections: &Connections) -> Moment {
    Moment {
        second: -1.0,
        present: connections.entered - connections.ended,
        gone: connections.failed + connections.ended,
        ..Moment::default()
    }
}
