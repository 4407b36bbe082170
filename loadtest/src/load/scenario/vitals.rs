//! What servers use while a run goes on, about once a second, and whether it grows.
//!
//! A leak is a line that rises: memory is held against time by least squares, and grows only when
//! the slope is well above what the scatter of the readings could make. The first part of a run is
//! left out, for caches fill and an allocator settles then. Readings of a server that is away, as
//! between a kill and a start, are left out too.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::gathering::{Gathering, TARGET};
use super::{Moment, Outcome};
use crate::load::crew::{Hire, Measurement};
use crate::load::meter::Meter;
use crate::load::target::Target;

/// Between two readings.
const PERIOD: Duration = Duration::from_secs(1);

/// Slopes are told apart from none by so many of their standard errors: once in a thousand times
/// the scatter alone makes one as steep.
const ERRORS_MIN: f64 = 3.3;

/// A slope from fewer readings than this is none.
const READINGS_MIN: usize = 10;

/// What all servers use, at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Vital {
    /// Seconds since the begin of the load; below zero while connections are made.
    pub second: f64,
    /// Resident memory of the servers.
    pub rss: u64,
    /// Of that what is no file.
    pub anonymous: u64,
    /// Open files of the servers.
    pub files: u64,
    /// CPU seconds of the servers since they were started.
    pub cpu_seconds: f64,
    /// CPU seconds of the store and the bus.
    pub services_cpu_seconds: f64,
    /// What the kernel holds for TCP.
    pub tcp_bytes: u64,
}

/// A straight line through readings.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Slope {
    /// What it rises in an hour.
    pub per_hour: f64,
    /// The standard error of that.
    pub error_per_hour: f64,
    /// The mean of the readings.
    pub mean: f64,
    /// What it rose from the first of them to the last.
    pub rise: f64,
}

/// Whether the servers of a run are the same from its begin to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Servers {
    /// They are.
    Stay,
    /// They are ended and started again: what they use is in their course alone.
    ComeAndGo,
}

/// A gathering that is watched: it is read all the while what the target uses.
#[derive(Debug)]
pub struct Watched<'a> {
    /// Who meets, and what is said.
    pub gathering: &'a Gathering,
    /// Where.
    pub target: &'a Target,
    /// Whether the servers stay.
    pub servers: Servers,
    /// How workers are started.
    pub hire: Hire,
}

impl Watched<'_> {
    /// Measures it; gives what came out, and what the servers used second by second.
    ///
    /// # Errors
    /// When it cannot be carried out, or a worker or server is gone.
    pub async fn measure(
        self,
        tell: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<(Outcome, Vec<Vital>)> {
        let Self { gathering, target, servers, hire } = self;
        let plan = gathering.plan(target).await?;
        let mut processes = target.processes();
        if servers == Servers::ComeAndGo {
            processes.servers.clear();
        }
        let (servers, services) = (processes.servers, processes.services);
        let measurement = Measurement { plan, hire, servers, services, settle: gathering.settle };
        accompany(target, measurement, tell).await
    }
}

async fn accompany(
    target: &Target,
    measurement: Measurement,
    tell: &mut (dyn FnMut(&Moment) + Send),
) -> Result<(Outcome, Vec<Vital>)> {
    let first = Instant::now();
    let (mut begin, mut course) = (0.0, Vec::new());
    let mut tell = |moment: &Moment| {
        if moment.second >= 0.0 {
            begin = first.elapsed().as_secs_f64() - moment.second;
        }
        tell(moment);
    };
    let mut outcome = tokio::select! {
        outcome = measurement.make(&mut tell) => outcome?,
        never = watch(target, first, &mut course) => match never {},
    };
    course.iter_mut().for_each(|vital| vital.second -= begin);
    TARGET.clone_into(&mut outcome.target);
    Ok((outcome, course))
}

/// Reads once a second into `course`, until it is dropped.
async fn watch(target: &Target, begun: Instant, course: &mut Vec<Vital>) -> Infallible {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let processes = target.processes();
        let meter =
            Meter { servers: processes.servers, workers: Vec::new(), services: processes.services };
        // One that is gone at this moment has nothing to tell.
        let Ok(reading) = meter.read() else { continue };
        course.push(Vital {
            second: (reading.at - begun).as_secs_f64(),
            rss: reading.servers.resident_bytes,
            anonymous: reading.servers.anonymous_bytes,
            files: reading.servers.files,
            cpu_seconds: reading.servers.cpu.as_secs_f64(),
            services_cpu_seconds: reading.services.cpu.as_secs_f64(),
            tcp_bytes: reading.host.tcp_bytes,
        });
    }
}

impl Slope {
    /// The line through the readings from `from` seconds on; none through too few of them.
    #[must_use]
    pub fn of(course: &[Vital], from: f64, value: impl Fn(&Vital) -> u64) -> Option<Self> {
        let late = course.iter().filter(|vital| vital.second >= from);
        let points: Vec<(f64, f64)> =
            late.map(|vital| (vital.second / 3_600.0, value(vital) as f64)).collect();
        if points.len() < READINGS_MIN {
            return None;
        }
        let count = points.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (hour, mean) = (mean(|point| point.0), mean(|point| point.1));
        let spread: f64 = points.iter().map(|(at, _)| (at - hour).powi(2)).sum();
        let common: f64 = points.iter().map(|(at, value)| (at - hour) * (value - mean)).sum();
        let per_hour = common / spread;
        let residue = points.iter().map(|(at, value)| value - mean - per_hour * (at - hour));
        let variance = residue.map(|rest| rest * rest).sum::<f64>() / (count - 2.0);
        let length = points.last().map_or(0.0, |point| point.0) - points[0].0;
        let (error_per_hour, rise) = ((variance / spread).sqrt(), per_hour * length);
        Some(Self { per_hour, error_per_hour, mean, rise })
    }

    /// Whether it rises: more than its scatter explains, by more than `per_hour_max` an hour, and by
    /// more than `rise_max` in the time that was looked at.
    #[must_use]
    pub fn rises(&self, per_hour_max: f64, rise_max: f64) -> bool {
        let shown = self.per_hour > ERRORS_MIN * self.error_per_hour;
        shown && self.per_hour > per_hour_max && self.rise > rise_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1024.0 * 1024.0;

    /// An hour of readings of memory.
    fn course(rss: impl Fn(f64) -> f64) -> Vec<Vital> {
        let vital = |second: u32| {
            let second = f64::from(second);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
            let rss = rss(second) as u64;
            Vital { second, rss, ..Vital::default() }
        };
        (0..3_600).map(vital).collect()
    }

    fn slope(course: &[Vital]) -> Slope {
        Slope::of(course, 1_200.0, |vital| vital.rss).unwrap()
    }

    /// Something between -1 and 1 that repeats with no period of its own.
    fn noise(second: f64) -> f64 {
        (second * 12.9898).sin() * (second * 78.233).cos()
    }

    #[test]
    fn a_leak_is_a_line_that_rises_through_the_noise() {
        let leaks = slope(&course(|at| 100.0 * MIB + at / 60.0 * 0.5 * MIB + noise(at) * MIB));
        assert!((leaks.per_hour / MIB - 30.0).abs() < 0.5, "{leaks:?}");
        assert!((leaks.rise / MIB - 20.0).abs() < 0.5, "of forty minutes: {leaks:?}");
        assert!(leaks.rises(2.0 * MIB, 2.0 * MIB));
        assert!(!leaks.rises(40.0 * MIB, 0.0), "less than what is let pass");
        assert!(!leaks.rises(0.0, 30.0 * MIB), "less than an allocator's step");
    }

    #[test]
    fn noise_and_a_beginning_that_settles_are_no_leak() {
        let still = slope(&course(|at| 100.0 * MIB + noise(at) * 5.0 * MIB));
        assert!(!still.rises(0.0, 0.0), "{still:?}");
        let settles = course(|at| 100.0 * MIB + at.min(600.0) / 600.0 * 50.0 * MIB);
        assert!(!slope(&settles).rises(0.0, 0.0));
        assert!(Slope::of(&settles, 0.0, |vital| vital.rss).unwrap().rises(2.0 * MIB, MIB));
        let sinks = slope(&course(|at| 100.0 * MIB - at * 1_000.0));
        assert!(!sinks.rises(0.0, 0.0));
    }

    #[test]
    fn a_few_readings_make_no_line() {
        let course = course(|_| MIB);
        assert_eq!(Slope::of(&course[..5], 0.0, |vital| vital.rss), None);
        assert_eq!(Slope::of(&course, 3_595.0, |vital| vital.rss), None);
    }
}
