//! What is measured: how long acknowledgements and deliveries take, in calm and in trouble.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::check::client::Kind;
use crate::check::client::wire::Refusal;

/// Longest that is told apart; above everything a run waits for.
const TIME_MAX: Duration = Duration::from_secs(600);

/// Two digits are told apart: 1 %.
const DIGITS: u8 = 2;

/// After a fault is over it is still trouble for so long: clients come back, Redis is found again.
const AFTERMATH: Duration = Duration::from_secs(3);

/// Whether something is broken at the moment.
#[derive(Debug, Default)]
pub struct Weather {
    broken: AtomicUsize,
    /// When the last trouble ends or ended, in microseconds since the start.
    calm_from: AtomicU64,
}

/// The figures of a run.
#[derive(Debug)]
pub struct Figures {
    times: [Split; 5],
    seen: AtomicUsize,
    connects: Vec<AtomicUsize>,
    refusals: Mutex<BTreeMap<String, usize>>,
}

/// What the histograms are of, in their order.
const NAMES: [&str; 5] = [
    "room: acknowledged",
    "room: delivered, same node",
    "room: delivered, across nodes",
    "plain: acknowledged",
    "plain: delivered",
];

/// Times in calm and in trouble.
#[derive(Debug)]
struct Split {
    calm: Mutex<Histogram<u32>>,
    trouble: Mutex<Histogram<u32>>,
}

/// One line of the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// What was measured, and in which weather.
    pub name: &'static str,
    /// `calm` or `faults`.
    pub weather: &'static str,
    /// How often.
    pub count: u64,
    /// Half of all are below, 99 of 100, and all.
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
}

impl Weather {
    /// Something breaks.
    pub fn breaks(&self) {
        self.broken.fetch_add(1, Ordering::SeqCst);
    }

    /// It is whole again.
    pub fn heals(&self, now: Duration) {
        self.calm_from.fetch_max(micros(now + AFTERMATH), Ordering::SeqCst);
        self.broken.fetch_sub(1, Ordering::SeqCst);
    }

    /// Whether there was no trouble from then until now.
    #[must_use]
    pub fn was_calm_since(&self, then: Duration) -> bool {
        self.broken.load(Ordering::SeqCst) == 0
            && self.calm_from.load(Ordering::SeqCst) <= micros(then)
    }
}

impl Figures {
    /// Nothing measured yet, on so many nodes.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            times: std::array::from_fn(|_| Split::new()),
            seen: AtomicUsize::new(0),
            connects: (0..nodes).map(|_| AtomicUsize::new(0)).collect(),
            refusals: Mutex::default(),
        }
    }

    /// A message was acknowledged after so long.
    pub fn acknowledged(&self, kind: Kind, calm: bool, took: Duration) {
        let which = match kind {
            Kind::Room => 0,
            Kind::Plain => 3,
        };
        self.times[which].record(calm, took);
    }

    /// A message came live after so long.
    pub fn delivered(&self, kind: Kind, calm: bool, across: bool, took: Duration) {
        let which = match (kind, across) {
            (Kind::Room, false) => 1,
            (Kind::Room, true) => 2,
            (Kind::Plain, _) => 4,
        };
        self.times[which].record(calm, took);
        self.seen();
    }

    /// Something came live.
    pub fn seen(&self) {
        self.seen.fetch_add(1, Ordering::Relaxed);
    }

    /// How much came live.
    #[must_use]
    pub fn deliveries(&self) -> usize {
        self.seen.load(Ordering::Relaxed)
    }

    /// A client was let in by a node.
    pub fn connected(&self, node: usize) {
        self.connects[node].fetch_add(1, Ordering::Relaxed);
    }

    /// How often each node let somebody in.
    #[must_use]
    pub fn connects(&self) -> Vec<usize> {
        self.connects.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// A command was refused.
    pub fn refused(&self, refusal: &Refusal<'_>) {
        let name = format!("{} {}", refusal.code, refusal.reason);
        *self.refusals.lock().entry(name.trim_end().to_owned()).or_default() += 1;
    }

    /// How often commands were refused, by code and reason.
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<String, usize> {
        self.refusals.lock().clone()
    }

    /// The table of times, without what never happened.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let rows = NAMES.iter().zip(&self.times).flat_map(|(name, split)| {
            let calm = Row::new(name, "calm", &split.calm.lock());
            [calm, Row::new(name, "faults", &split.trouble.lock())]
        });
        rows.filter(|row| row.count > 0).collect()
    }
}

impl Split {
    fn new() -> Self {
        let histogram = || {
            let made = Histogram::new_with_bounds(1, micros(TIME_MAX), DIGITS);
            Mutex::new(made.expect("the bounds are in order and the digits few"))
        };
        Self { calm: histogram(), trouble: histogram() }
    }

    fn record(&self, calm: bool, took: Duration) {
        let histogram = if calm { &self.calm } else { &self.trouble };
        histogram.lock().saturating_record(micros(took).max(1));
    }
}

impl Row {
    fn new(name: &'static str, weather: &'static str, times: &Histogram<u32>) -> Self {
        let at = |quantile| Duration::from_micros(times.value_at_quantile(quantile));
        let max = Duration::from_micros(times.max());
        Self { name, weather, count: times.len(), p50: at(0.5), p99: at(0.99), max }
    }

    /// The same for a program.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { name, weather, count, p50, p99, max } = self;
        let (p50, p99, max) = (micros(*p50), micros(*p99), micros(*max));
        json!({ "name": name, "weather": weather, "count": count,
                "p50_us": p50, "p99_us": p99, "max_us": max })
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_trouble_are_kept_apart_until_it_is_over_for_a_while() {
        let weather = Weather::default();
        assert!(weather.was_calm_since(Duration::ZERO));
        weather.breaks();
        assert!(!weather.was_calm_since(Duration::ZERO));
        weather.heals(Duration::from_secs(10));
        assert!(!weather.was_calm_since(Duration::from_secs(12)));
        assert!(weather.was_calm_since(Duration::from_secs(13)));
    }

    #[test]
    fn a_row_has_what_was_recorded_within_one_percent() {
        let figures = Figures::new(1);
        for millis in 1..=100 {
            figures.acknowledged(Kind::Room, true, Duration::from_millis(millis));
        }
        let rows = figures.rows();
        assert_eq!(rows.len(), 1);
        let (p50, max) = (rows[0].p50.as_secs_f64(), rows[0].max.as_secs_f64());
        assert!((0.0495..0.0505).contains(&p50), "{p50}");
        assert!((0.099..0.101).contains(&max), "{max}");
        assert_eq!(rows[0].count, 100);
    }
}
