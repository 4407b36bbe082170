//! The lease of this node: how others know that it lives, and how it knows that they thought it
//! dead.
//!
//! One task beats every second. Time is that of Redis, so the clocks of nodes do not matter. A
//! node that lives has an *incarnation*, the name under which it writes what belongs to its own
//! clients; with a lease that is not renewed for [`LEASE`] others may remove all of that. So an
//! incarnation whose lease was lost is never used again: the node takes a new one, and whoever
//! keeps something in Redis writes it again under that, told by [`Nodes::registration`]. That a
//! dead incarnation never comes back is what makes removing its entries safe.
//!
//! Redis may forget: `life` is a random word that goes with everything else when it is flushed or
//! replaced, and a lease that ends earlier than this node was told last is one of a copy that was
//! behind. Either way everything is written again.
//!
//! Nothing is ended here: who lets a lease run out is buried by [`super::presence`].

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use chassis::ops::Check;
use chassis::redis::commands::cmd;
use chassis::redis::{Error, Script};
use rand::RngExt;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Nodes;
use super::peers::{About, Peers};

/// How long a node that says nothing counts as alive.
pub const LEASE: Duration = Duration::from_secs(5);

/// Between two beats.
pub const BEAT: Duration = Duration::from_secs(1);

/// How long after a beat was sent this node relies on its lease: what it sends then arrives, or is
/// given up, before others may think it dead.
const RELIED_ON: Duration = Duration::from_millis(3500);

/// Before a beat that failed is tried again, at most; nodes do not all come at once.
const RETRY_MAX: Duration = Duration::from_millis(400);

/// Before a new incarnation takes the place of one that was lost: at once, yet no loop spins.
const ANEW: Duration = Duration::from_millis(10);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease.lua")));

/// Under which name a node writes, and why that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The name.
    pub incarnation: Uuid,
    /// What happened before.
    pub cause: Cause,
}

/// What made a node take a new incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing: the process has begun.
    Began,
    /// Its lease ran out, so others removed, or will remove, what it had written.
    Expired,
    /// Redis forgot, all or the newest.
    Forgotten,
}

/// What is known of this node's lease; shared by everything in it.
#[derive(Debug)]
pub(super) struct Lease {
    registration: watch::Sender<Registration>,
    /// When the last beat was sent that was answered.
    beaten: watch::Sender<Option<Instant>>,
    peers: watch::Sender<Arc<Peers>>,
    /// Somebody has reason to think that the lease is lost.
    doubted: Notify,
}

/// The task that beats, not running yet.
#[derive(Debug)]
pub struct Heart {
    nodes: Arc<Nodes>,
    about: About,
    memory: Memory,
}

/// What a node remembers from one beat to the next.
#[derive(Debug)]
struct Memory {
    next: Registration,
    has_lease: bool,
    life: Option<String>,
    /// When the lease ends by the last answer.
    ends_ms: u64,
}

/// What Redis answers to a beat.
#[derive(Debug, Clone)]
struct Answer {
    now_ms: u64,
    life: String,
    /// When the lease would have ended; 0 = there was none.
    before_ms: u64,
    holds: bool,
}

/// What a beat came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// The lease goes on.
    Renewed,
    /// A new incarnation has a lease.
    Registered,
    /// The incarnation is lost: the next one is to be registered at once.
    Lost,
}

impl Lease {
    pub(super) fn new(incarnation: Uuid) -> Self {
        let registration = Registration { incarnation, cause: Cause::Began };
        Self {
            registration: watch::Sender::new(registration),
            beaten: watch::Sender::new(None),
            peers: watch::Sender::default(),
            doubted: Notify::new(),
        }
    }
}

impl Nodes {
    /// The name under which this node writes what belongs to its clients.
    #[must_use]
    pub fn incarnation(&self) -> Uuid {
        self.lease.registration.borrow().incarnation
    }

    /// The same with every change of it: what is kept in Redis of this node's clients is then to
    /// be written again. Nothing of it is there before [`Nodes::has_lease`].
    #[must_use]
    pub fn registration(&self) -> watch::Receiver<Registration> {
        self.lease.registration.subscribe()
    }

    /// True while others know this node to be alive, and what it writes is not removed.
    #[must_use]
    pub fn has_lease(&self) -> bool {
        self.lease.beaten.borrow().is_some_and(|beaten| beaten.elapsed() < RELIED_ON)
    }

    /// Waits for a lease.
    pub async fn leased(&self) {
        let mut beaten = self.lease.beaten.subscribe();
        let fresh = |beaten: &Option<Instant>| {
            beaten.is_some_and(|beaten: Instant| beaten.elapsed() < RELIED_ON)
        };
        if beaten.wait_for(fresh).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Makes sure of the lease now, not at the next beat: what was written under an incarnation
    /// that Redis has forgotten belongs to nobody if this node dies before it knows.
    ///
    /// # Errors
    /// When Redis cannot be asked.
    pub(super) async fn make_sure(&self, incarnation: Uuid) -> Result<(), Error> {
        let mut score = cmd("ZSCORE");
        score.arg(self.key("alive")).arg(incarnation.to_string());
        let ends: Option<f64> = self.redis().query(&score).await?;
        if ends.is_none() {
            self.lease.beaten.send_replace(None);
            self.lease.doubted.notify_one();
        }
        Ok(())
    }

    /// Who is alive, this node among them, and who no longer, as of each beat.
    #[must_use]
    pub fn beats(&self) -> watch::Receiver<Arc<Peers>> {
        self.lease.peers.subscribe()
    }

    /// A key that is kept beside the leases.
    pub(super) fn key(&self, name: &str) -> String {
        format!("{}:{{nodes}}:{name}", self.prefix())
    }
}

impl Heart {
    /// A heart that says `about` of its node.
    #[must_use]
    pub fn new(nodes: Arc<Nodes>, about: About) -> Self {
        let next = *nodes.lease.registration.borrow();
        Self { nodes, about, memory: Memory::new(next) }
    }

    /// Degraded while nodes disagree, or the clock of this one is wrong.
    #[must_use]
    pub fn health(&self) -> Check {
        self.about.health()
    }

    /// Beats until `stop`. The lease is left to run out: what this node leaves behind is removed
    /// by others then, and not a moment before its clients had the time to come back.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                () = self.nodes.lease.doubted.notified() => {}
            }
            while let Some(wait) = self.beat().await {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = sleep(wait) => {}
                }
            }
        }
    }

    /// One beat; how soon it is to be tried again, when it is.
    async fn beat(&mut self) -> Option<Duration> {
        let sent = Instant::now();
        match self.ask().await {
            Ok((answer, peers)) => {
                let verdict = self.memory.judge(&answer);
                self.settle(verdict, sent, peers);
                (verdict == Verdict::Lost).then_some(ANEW)
            }
            Err(error) => {
                tracing::debug!(%error, "no beat");
                if !self.nodes.has_lease() {
                    self.about.unheard();
                }
                Some(RETRY_MAX.mul_f64(rand::rng().random_range(0.25..1.0)))
            }
        }
    }

    fn settle(&self, verdict: Verdict, sent: Instant, peers: Peers) {
        let lease = &self.nodes.lease;
        let next = self.memory.next;
        match verdict {
            Verdict::Lost => {
                tracing::warn!(cause = ?next.cause, "this node begins again among the others");
                lease.beaten.send_replace(None);
                return;
            }
            Verdict::Registered => {
                lease.registration.send_replace(next);
            }
            Verdict::Renewed => {}
        }
        self.about.compare(&peers);
        lease.peers.send_replace(Arc::new(peers));
        lease.beaten.send_replace(Some(sent));
    }

    async fn ask(&self) -> Result<(Answer, Peers), Error> {
        type Raw = (u64, String, u64, u64, Vec<String>, Vec<String>);
        let nodes = &self.nodes;
        let keys = ["alive", "info", "dead", "life"].map(|name| nodes.key(name));
        let clock_before = self.about.clock();
        let mut script = SCRIPT.prepare_invoke();
        for key in &keys {
            script.key(key);
        }
        script.arg(self.memory.next.incarnation.to_string());
        script.arg(self.about.info(clock_before));
        script.arg(u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX));
        script.arg(Uuid::new_v4().to_string());
        script.arg(if self.memory.has_lease { "" } else { "new" });
        let raw: Raw = nodes.redis().invoke(&script).await?;
        let (now_ms, life, before_ms, holds, alive, over) = raw;
        self.about.clocks(clock_before, self.about.clock(), now_ms);
        let answer = Answer { now_ms, life, before_ms, holds: holds == 1 };
        Ok((answer, Peers::read(&alive, &over)))
    }
}

impl Memory {
    fn new(next: Registration) -> Self {
        Self { next, has_lease: false, life: None, ends_ms: 0 }
    }

    fn judge(&mut self, answer: &Answer) -> Verdict {
        let lives_on = self.life.as_ref().is_none_or(|life| *life == answer.life);
        let was_lost = !answer.holds || (self.has_lease && answer.before_ms < self.ends_ms);
        if was_lost || (self.has_lease && !lives_on) {
            let forgotten = !lives_on || answer.before_ms > 0;
            // The cause stays until a registration succeeds: who was thought dead and comes back
            // to a Redis that was flushed finds nothing either way.
            let cause = match forgotten {
                true => Cause::Forgotten,
                false if self.has_lease => Cause::Expired,
                false => self.next.cause,
            };
            self.next = Registration { incarnation: Uuid::new_v4(), cause };
            self.has_lease = false;
            return Verdict::Lost;
        }
        let verdict = if self.has_lease { Verdict::Renewed } else { Verdict::Registered };
        self.has_lease = true;
        self.life = Some(answer.life.clone());
        self.ends_ms = answer.now_ms + u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(now_ms: u64, before_ms: u64, life: &str) -> Answer {
        Answer { now_ms, life: life.to_owned(), before_ms, holds: before_ms > 0 }
    }

    fn registered() -> Memory {
        let first = Registration { incarnation: Uuid::new_v4(), cause: Cause::Began };
        let mut memory = Memory::new(first);
        let granted = Answer { holds: true, ..answer(1_000, 0, "a") };
        assert_eq!(memory.judge(&granted), Verdict::Registered);
        assert_eq!(memory.next, first);
        memory
    }

    /// What comes of a beat that is answered like this after one at 1,000 ms.
    fn after(answer: &Answer) -> (Verdict, Option<Cause>) {
        let mut memory = registered();
        let before = memory.next.incarnation;
        let verdict = memory.judge(answer);
        (verdict, (memory.next.incarnation != before).then_some(memory.next.cause))
    }

    #[test]
    fn a_lease_that_is_found_as_it_was_left_goes_on() {
        assert_eq!(after(&answer(2_000, 6_000, "a")), (Verdict::Renewed, None));
        // Late, but nobody has removed anything.
        assert_eq!(after(&answer(9_000, 6_000, "a")), (Verdict::Renewed, None));
    }

    #[test]
    fn a_lease_that_is_gone_takes_its_incarnation_with_it() {
        assert_eq!(after(&answer(9_000, 0, "a")), (Verdict::Lost, Some(Cause::Expired)));
    }

    #[test]
    fn a_redis_that_was_flushed_or_is_behind_has_forgotten() {
        let forgotten = (Verdict::Lost, Some(Cause::Forgotten));
        assert_eq!(after(&answer(2_000, 0, "b")), forgotten);
        assert_eq!(after(&answer(2_000, 6_000, "b")), forgotten);
        assert_eq!(after(&answer(2_000, 5_500, "a")), forgotten);
    }

    #[test]
    fn a_new_incarnation_is_registered_with_the_cause_of_the_loss() {
        let mut memory = registered();
        memory.judge(&answer(9_000, 0, "a"));
        assert_eq!(memory.judge(&Answer { holds: true, ..answer(9_001, 0, "a") }), {
            Verdict::Registered
        });
        assert_eq!(memory.next.cause, Cause::Expired);
    }
}
