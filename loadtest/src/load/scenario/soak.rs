//! A long steady load, to find what grows: memory, open files, latency.
//!
//! The same number of clients hears the same number of messages a second for as long as asked.
//! Memory is held against time once the first third is over, and at least two minutes; more than a
//! little growth an hour is a leak, and so is a file that stays open. Latency is told minute by
//! minute.

use std::collections::BTreeMap;

use anyhow::Result;

use super::gathering::Gathering;
use super::vitals::{Servers, Slope, Vital, Watched};
use super::{Moment, Outcome};
use crate::load::crew::Hire;
use crate::load::target::Target;
use crate::load::times::Times;

/// The part of a run that is left to caches and allocators to settle in, and the least of it:
/// clients were all pinged four times, the allocator has given back what the entry took, and each
/// room has been spoken in.
const SETTLE: f64 = 1.0 / 3.0;
const SETTLE_SECONDS_MIN: f64 = 120.0;

/// A rise that is let pass in all: an allocator takes memory of the kernel in steps of this.
const RISE_MAX: f64 = 2.0 * MIB;

/// Growth of an hour that is let pass: a fiftieth of what is there. A message log that is kept in
/// memory by mistake grows by that in minutes.
const GROWTH_MAX: f64 = 0.02;

const MIB: f64 = 1024.0 * 1024.0;

/// Files that may be open more at the end than when it had settled: connections of pools.
const FILES_MAX: u64 = 16;

/// Soaks a target for as long as the gathering is heard.
///
/// # Errors
/// When it cannot be carried out. What grows is no error: it is in the second part of the result.
pub async fn run(
    target: &Target,
    gathering: &Gathering,
    tell: &mut (dyn FnMut(&Moment) + Send),
) -> Result<(Outcome, Vec<String>)> {
    let (servers, hire) = (Servers::Stay, Hire::own()?);
    let watched = Watched { gathering, target, servers, hire };
    let (mut outcome, course) = watched.measure(tell).await?;
    let soaked = Soaked::of(&outcome, &course);
    outcome.scenario = "soak".to_owned();
    outcome.figures.extend(soaked.figures());
    if soaked.memory.is_none() {
        outcome.notes.push("too short to tell whether memory grows".to_owned());
    }
    Ok((outcome, soaked.faults()))
}

/// One minute of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Minute {
    /// Which, from 0.
    pub number: u64,
    /// Resident memory of the servers at its end.
    pub rss: u64,
    /// Files they had open at its end.
    pub files: u64,
    /// Cores they kept busy.
    pub cores: f64,
    /// Deliveries.
    pub delivered: u64,
    /// Delays of them.
    pub latency: Times,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Soaked {
    /// Minute by minute.
    pub minutes: Vec<Minute>,
    /// How memory that is no file grows; none for a run that was too short to tell.
    pub memory: Option<Slope>,
    /// Files open when it had settled, and at the end.
    pub files: (u64, u64),
}

impl Soaked {
    /// Sums a run up.
    #[must_use]
    pub fn of(outcome: &Outcome, course: &[Vital]) -> Self {
        // While everyone comes and goes nothing is steady.
        let end = outcome.moments.last().map_or(0.0, |moment| moment.second);
        let loaded = course.iter().filter(|vital| (0.0..=end).contains(&vital.second));
        let course: Vec<Vital> = loaded.copied().collect();
        let settled = (end * SETTLE).max(SETTLE_SECONDS_MIN);
        let course = course.as_slice();
        let last = course.last().map_or(0, |vital| vital.files);
        let files = course.iter().find(|vital| vital.second >= settled);
        Self {
            minutes: minutes(outcome, course),
            memory: Slope::of(course, settled, |vital| vital.anonymous),
            files: (files.map_or(last, |vital| vital.files), last),
        }
    }

    /// What grows, as sentences; empty when nothing does.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(slope) =
            self.memory.filter(|slope| slope.rises(slope.mean * GROWTH_MAX, RISE_MAX))
        {
            faults.push(format!(
                "memory grows by {:.1} MiB an hour, from {:.1} MiB",
                slope.per_hour / MIB,
                slope.mean / MIB,
            ));
        }
        let (settled, end) = self.files;
        if end > settled + FILES_MAX {
            faults.push(format!("{} more files are open than when it had settled", end - settled));
        }
        faults
    }

    /// The figures of a report.
    #[must_use]
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        let mut set = |name: String, value: f64| figures.insert(name, value);
        for minute in &self.minutes {
            let number = minute.number;
            set(format!("minute_{number:03}_rss_bytes"), minute.rss as f64);
            set(format!("minute_{number:03}_files_count"), minute.files as f64);
            set(format!("minute_{number:03}_cores"), minute.cores);
            set(format!("minute_{number:03}_deliveries_count"), minute.delivered as f64);
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                let seconds = minute.latency.at(quantile).as_secs_f64();
                set(format!("minute_{number:03}_latency_{name}_seconds"), seconds);
            }
        }
        if let Some(slope) = self.memory {
            set("memory_growth_bytes_per_hour".to_owned(), slope.per_hour);
            set("memory_growth_error_bytes_per_hour".to_owned(), slope.error_per_hour);
        }
        figures
    }
}

/// Whole minutes of a run, and what is left over as one more.
fn minutes(outcome: &Outcome, course: &[Vital]) -> Vec<Minute> {
    let minute_of = |second: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of a run")]
        let minute = (second.max(0.0) / 60.0) as u64;
        minute
    };
    let mut minutes: BTreeMap<u64, Minute> = BTreeMap::new();
    let mut before = course.first();
    for vital in course {
        let number = minute_of(vital.second);
        let minute = minutes.entry(number).or_insert_with(|| Minute::new(number));
        (minute.rss, minute.files) = (vital.rss, vital.files);
        if let Some(before) = before {
            // Counts of a server that was started again begin anew.
            minute.cores += (vital.cpu_seconds - before.cpu_seconds).max(0.0) / 60.0;
        }
        before = Some(vital);
    }
    let mut delivered = 0;
    for moment in outcome.moments.iter().filter(|moment| moment.second >= 0.0) {
        // A moment tells of the second before it.
        let number = minute_of(moment.second - 0.5);
        let minute = minutes.entry(number).or_insert_with(|| Minute::new(number));
        minute.delivered += moment.delivered - delivered;
        minute.latency.add(&moment.latency);
        delivered = moment.delivered;
    }
    minutes.into_values().collect()
}

impl Minute {
    fn new(number: u64) -> Self {
        let latency = Times::default();
        Self { number, rss: 0, files: 0, cores: 0.0, delivered: 0, latency }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten minutes under load, with half a minute before it in which connections are made.
    fn soaked(memory: impl Fn(f64) -> f64, files: impl Fn(f64) -> u64) -> Soaked {
        let mut outcome = Outcome::default();
        for second in 1..=600_u32 {
            let mut moment = Moment { second: second.into(), ..Moment::default() };
            moment.delivered = u64::from(second) * 10;
            moment.latency.record(1_000_000 * u64::from(1 + second / 60));
            outcome.moments.push(moment);
        }
        let course = (-30..630_i32).map(|second| {
            let second = f64::from(second);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
            let bytes = memory(second) as u64;
            let (rss, anonymous, files) = (bytes + 1_000_000, bytes, files(second));
            let cpu_seconds = (second + 30.0) / 2.0;
            Vital { second, rss, anonymous, files, cpu_seconds, ..Vital::default() }
        });
        Soaked::of(&outcome, &course.collect::<Vec<_>>())
    }

    #[test]
    fn a_level_run_has_no_faults_and_a_line_for_each_minute() {
        // What is made and given back outside of the load is no growth.
        let memory = |second: f64| if (0.0..=600.0).contains(&second) { 80.0 } else { 10.0 };
        let soaked = soaked(|second| memory(second) * MIB, |_| 500);
        assert_eq!(soaked.faults(), [""; 0]);
        assert_eq!(soaked.minutes.len(), 11, "the last second of it begins another");
        let minute = &soaked.minutes[3];
        assert_eq!((minute.number, minute.delivered, minute.files), (3, 600, 500));
        assert_eq!(minute.latency.count(), 60);
        assert!((minute.cores - 0.5).abs() < 1e-9, "{}", minute.cores);
        let figures = soaked.figures();
        assert!(
            figures["minute_009_latency_p99_seconds"] > figures["minute_001_latency_p99_seconds"]
        );
    }

    #[test]
    fn a_short_run_tells_nothing_of_what_grows() {
        let mut outcome = Outcome::default();
        outcome.moments.push(Moment { second: 65.0, ..Moment::default() });
        let vital = |second: u32| {
            let (second, anonymous) = (f64::from(second), u64::from(second) << 20);
            Vital { second, anonymous, files: 99, ..Vital::default() }
        };
        let soaked = Soaked::of(&outcome, &(0..65).map(vital).collect::<Vec<_>>());
        assert_eq!((soaked.memory, soaked.files), (None, (99, 99)));
        assert_eq!(soaked.faults(), [""; 0]);
    }

    #[test]
    fn memory_that_grows_and_files_that_stay_open_are_faults() {
        let leaks = soaked(
            |second| (100.0 + second / 60.0) * MIB,
            |second| {
                if second > 500.0 { 560 } else { 500 }
            },
        );
        let faults = leaks.faults();
        assert!(faults[0].starts_with("memory grows by 60.0 MiB an hour"), "{faults:?}");
        assert_eq!(faults[1], "60 more files are open than when it had settled");
    }
}
