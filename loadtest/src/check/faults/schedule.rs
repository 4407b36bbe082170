//! When what happens: the same for the same seed.
//!
//! Each kind once a round, in an order of its own each round, with pauses in which everything is
//! whole. Now and then one begins while the one before it still lasts, on another target; never more
//! than two, for the promise is about parts that die, not about a house that burns down.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::Kind;

/// Before the first fault: what a run is like when nothing is broken is seen first.
const LEAD: Duration = Duration::from_secs(5);

/// Between two faults, in milliseconds.
const GAP: std::ops::Range<u64> = 1_500..4_000;

/// One of so many faults begins while the one before it lasts.
const OVERLAP_ONE_OF: u32 = 4;

/// What happens, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// The seed it was drawn from.
    pub seed: u64,
    /// In the order of their beginning.
    pub steps: Vec<Step>,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// When, since the beginning of the load.
    pub at: Duration,
    /// How long.
    pub lasts: Duration,
    /// What.
    pub kind: Kind,
    /// Which node or master, where it is for one.
    pub node: usize,
    /// For whatever else is left to chance.
    pub salt: u64,
}

impl Schedule {
    /// Draws one.
    #[must_use]
    pub fn draw(seed: u64, kinds: &[Kind], rounds: usize, nodes: usize, away: Duration) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut steps: Vec<Step> = Vec::new();
        for _ in 0..rounds {
            let mut kinds = kinds.to_vec();
            kinds.shuffle(&mut random);
            for kind in kinds {
                let (least, most) = kind.lasts(away);
                let lasts = Duration::from_millis(random.random_range(least..most.max(least + 1)));
                let node = random.random_range(0..nodes.max(1));
                let gap = Duration::from_millis(random.random_range(GAP));
                let early = random.random_ratio(1, OVERLAP_ONE_OF);
                let share = random.random_range(0.2..0.8);
                let salt = random.random();
                let at = match steps.last() {
                    None => LEAD,
                    Some(last) if early && Self::may_overlap(&steps, kind, node) => {
                        last.at + last.lasts.mul_f64(share)
                    }
                    Some(_) => Self::end_of(&steps) + gap,
                };
                steps.push(Step { at, lasts, kind, node, salt });
            }
        }
        Self { seed, steps }
    }

    /// When the last of it is over.
    #[must_use]
    pub fn end(&self) -> Duration {
        Self::end_of(&self.steps)
    }

    /// How often such a fault is in it.
    #[must_use]
    pub fn count(&self, is_one: impl Fn(Kind) -> bool) -> usize {
        self.steps.iter().filter(|step| is_one(step.kind)).count()
    }

    fn end_of(steps: &[Step]) -> Duration {
        steps.iter().map(|step| step.at + step.lasts).max().unwrap_or_default()
    }

    /// Whether only the last step would last at the same time, and is done to something else.
    fn may_overlap(steps: &[Step], kind: Kind, node: usize) -> bool {
        let Some((last, before)) = steps.split_last() else { return false };
        let alone = before.iter().all(|step| step.at + step.lasts <= last.at);
        alone && last.kind.target(last.node) != kind.target(node)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { lasts, node, .. } = self;
        let lasts = lasts.as_secs_f64();
        match self.kind {
            Kind::Kill => write!(f, "node {node} is killed, and started again after {lasts:.1} s"),
            Kind::Stop => write!(f, "node {node} stands still for {lasts:.1} s"),
            Kind::Drain => write!(f, "node {node} is told to go, and started again"),
            Kind::RedisRestart => {
                write!(f, "Redis is killed, and comes back empty in {lasts:.1} s")
            }
            Kind::RedisFlush => f.write_str("Redis forgets everything"),
            Kind::RedisPause => write!(f, "Redis stands still for {lasts:.1} s"),
            Kind::Postgres => write!(f, "PostgreSQL is killed, and comes back in {lasts:.1} s"),
            Kind::Cut => write!(f, "connections are cut in the middle of frames for {lasts:.1} s"),
            Kind::Partition => write!(f, "node {node} is cut off from Redis for {lasts:.1} s"),
            Kind::Clock => write!(f, "a clock jumps, and back after {lasts:.1} s"),
            Kind::RedisAway => write!(f, "Redis is away for {lasts:.1} s, and comes back empty"),
            Kind::Master => write!(f, "a master is killed, and comes back empty in {lasts:.1} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(seed: u64) -> Schedule {
        Schedule::draw(seed, &Kind::ALL, 2, 3, Duration::from_secs(60))
    }

    /// How many faults last at this moment.
    fn at_once(schedule: &Schedule, moment: Duration) -> Vec<Step> {
        let lasts = |step: &&Step| step.at <= moment && moment < step.at + step.lasts;
        schedule.steps.iter().filter(lasts).copied().collect()
    }

    #[test]
    fn the_same_seed_draws_the_same_and_another_one_something_else() {
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7).steps, draw(8).steps);
    }

    #[test]
    fn each_kind_happens_once_a_round() {
        let mut kinds: Vec<Kind> = draw(3).steps.iter().map(|step| step.kind).collect();
        kinds.sort_unstable();
        let mut wanted = [Kind::ALL, Kind::ALL].concat();
        wanted.sort_unstable();
        assert_eq!(kinds, wanted);
        assert_eq!(draw(3).count(Kind::loses), 4);
    }

    proptest! {
        #[test]
        fn at_most_two_things_are_broken_and_never_one_twice(seed: u64) {
            let schedule = draw(seed);
            for step in &schedule.steps {
                let now = at_once(&schedule, step.at);
                prop_assert!(now.len() <= 2, "{now:?}");
                if let [one, other] = now[..] {
                    prop_assert_ne!(one.kind.target(one.node), other.kind.target(other.node));
                }
            }
            prop_assert!(schedule.steps.is_sorted_by_key(|step| step.at));
            prop_assert!(schedule.end() < Duration::from_secs(240));
        }
    }
}
