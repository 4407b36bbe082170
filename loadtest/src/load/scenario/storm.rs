//! Everybody goes at once and comes back within seconds.
//!
//! Rooms with traffic; connections are ended by the workers, or by killing the servers or telling
//! them to go. Clients return as SDKs do, at random within the time given, say where they stood and
//! are told what they missed. Each checks that it has every message of its room once and in order,
//! across the gap too. The servers say what they asked their store meanwhile.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::time::timeout;

use super::gathering::Gathering;
use super::returns::Returns;
use super::vitals::{Servers, Vital, Watched};
use super::{Moment, Outcome};
use crate::load::crew::Hire;
use crate::load::plan;
use crate::load::target::{Figure, Target};
use crate::process::Process;

/// From the begin of the load until everybody goes.
const CALM: Duration = Duration::from_secs(5);

/// Longest from the end of a server until it is ready again: what its start may take and some more.
const AWAY_MAX: Duration = Duration::from_secs(60);

/// What servers say of their queries.
const QUERIES: &str = "store_queries_total";

/// How everybody goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// The workers cut the connections; servers stay.
    Cut,
    /// The servers are told to go, and are started again.
    Drain,
    /// The servers are killed, and are started again.
    Kill,
}

/// A storm.
#[derive(Debug, Clone, PartialEq)]
pub struct Storm {
    /// Who is in it, and what is said.
    pub gathering: Gathering,
    /// How everybody goes.
    pub by: By,
    /// Within which time they come back.
    pub within: Duration,
    /// How workers are started.
    pub hire: Hire,
}

/// What was seen when everybody went.
#[derive(Debug, Default)]
struct Gone {
    /// What servers had asked their store until then; none when they count anew since.
    queries: Option<Figure>,
    /// How long there was no server.
    away: Duration,
}

impl Storm {
    /// Time that a storm takes in all, apart from making connections.
    #[must_use]
    pub const fn length(within: Duration) -> Duration {
        // As much again to see that everything is calm, and that nothing came late.
        Duration::from_secs(CALM.as_secs() + 2 * within.as_secs() + 10)
    }

    /// Lets it come.
    ///
    /// # Errors
    /// When it cannot be carried out. Who does not come back is no error: they are in the second
    /// part of the result.
    pub async fn run(
        &self,
        target: &Target,
        tell: &mut (dyn FnMut(&Moment) + Send),
    ) -> Result<(Outcome, Vec<String>)> {
        let (rooms, members) = (self.gathering.rooms as u64, self.gathering.members as u64);
        let (by, servers, due) = match self.by {
            By::Cut => (plan::Breaker::Workers, Servers::Stay, rooms * members - rooms),
            By::Drain | By::Kill => {
                ensure!(target.nodes().count() > 0, "only own servers are killed or drained");
                (plan::Breaker::Servers, Servers::ComeAndGo, rooms * members)
            }
        };
        let storm = Some(plan::Storm { at: CALM, spread: self.within, by });
        let gathering = Gathering { storm, ..self.gathering };
        let (second, seconds) = watch::channel(-1.0);
        let mut tell = |moment: &Moment| {
            second.send_replace(moment.second);
            tell(moment);
        };
        let watched = Watched { gathering: &gathering, target, servers, hire: self.hire.clone() };
        let measured = watched.measure(&mut tell);
        let (measured, gone) = tokio::try_join!(measured, self.strike(target, seconds))?;
        let (mut outcome, course) = measured;
        let after = target.figure(QUERIES).await?;
        let returns = Returns::of(due, &outcome.tally, gone.queries.as_ref(), after.as_ref());
        outcome.scenario = "storm".to_owned();
        outcome.figures.extend(returns.figures());
        if servers == Servers::ComeAndGo {
            let away = gone.away.as_secs_f64();
            outcome.figures.insert("storm_server_away_seconds".to_owned(), away);
            // Nobody has read what those that went had used.
            outcome.figures.remove("server_cpu_per_handshake_us");
        }
        times(&mut outcome, &course);
        Ok((outcome, returns.faults()))
    }

    /// Does to the servers what has to be done, at its time.
    async fn strike(&self, target: &Target, mut seconds: watch::Receiver<f64>) -> Result<Gone> {
        // A second before the workers, who know the time better: nobody comes in meanwhile.
        let at = CALM.as_secs_f64() - f64::from(u8::from(self.by == By::Cut));
        seconds.wait_for(|second| *second >= at).await.context("the load did not begin")?;
        if self.by == By::Cut {
            return Ok(Gone { queries: target.figure(QUERIES).await?, away: Duration::ZERO });
        }
        let begun = tokio::time::Instant::now();
        let struck = timeout(AWAY_MAX, async {
            if self.by == By::Kill {
                target.nodes().for_each(Process::kill);
            } else {
                for node in target.nodes() {
                    node.drain().await?;
                }
            }
            for (number, node) in target.nodes().enumerate() {
                node.start().await?;
                target.until_ready(number).await?;
            }
            anyhow::Ok(())
        });
        struck.await.context("the servers are not back in time")??;
        Ok(Gone { queries: None, away: begun.elapsed() })
    }
}

/// When everybody was back, and how it was meanwhile.
fn times(outcome: &mut Outcome, course: &[Vital]) {
    let at = CALM.as_secs_f64();
    let last = Duration::from_nanos(outcome.tally.last_return).as_secs_f64();
    let took = (last - at).max(0.0);
    let during = |second: f64| second > at && second <= last.ceil();
    let mut worst = (Duration::ZERO, Duration::ZERO);
    let (mut most, mut before) = (0, None);
    for moment in outcome.moments.iter().filter(|moment| during(moment.second)) {
        worst.0 = worst.0.max(moment.latency.at(0.99));
        worst.1 = worst.1.max(moment.latency.max());
        let came = before.map_or(0, |before| moment.present.saturating_sub(before));
        (most, before) = (most.max(came), Some(moment.present));
    }
    let read: Vec<&Vital> = course.iter().filter(|vital| during(vital.second)).collect();
    let mut set = |name: &str, value: f64| {
        outcome.figures.insert(name.to_owned(), value);
    };
    if let (Some(first), Some(last)) = (read.first(), read.last())
        && last.second > first.second
    {
        let cores = (last.cpu_seconds - first.cpu_seconds) / (last.second - first.second);
        set("storm_server_cores", cores.max(0.0));
    }
    let returned = outcome.tally.connections.returned as f64;
    set("storm_seconds_until_last", took);
    set("storm_handshakes_per_second", if took > 0.0 { returned / took } else { 0.0 });
    set("storm_most_handshakes_per_second", most as f64);
    set("storm_worst_p99_seconds", worst.0.as_secs_f64());
    set("storm_worst_seconds", worst.1.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: f64, present: u64, millis: u64) -> Moment {
        let mut moment = Moment { second, present, ..Moment::default() };
        moment.latency.record(millis * 1_000_000);
        moment
    }

    #[test]
    fn what_is_told_of_a_storm_is_of_the_time_from_its_begin_to_the_last_return() {
        let mut outcome = Outcome {
            moments: vec![
                moment(5.0, 100, 900),
                moment(6.0, 20, 30),
                moment(7.0, 70, 80),
                moment(8.0, 100, 10),
                moment(9.0, 100, 700),
            ],
            ..Outcome::default()
        };
        outcome.tally.last_return = 7_500_000_000;
        outcome.tally.connections.returned = 80;
        let vital = |second, cpu_seconds| Vital { second, cpu_seconds, ..Vital::default() };
        let course = [vital(5.0, 1.0), vital(6.0, 2.0), vital(8.0, 3.0), vital(9.0, 13.0)];
        times(&mut outcome, &course);
        let figure = |name: &str| outcome.figures[name];
        assert!((figure("storm_seconds_until_last") - 2.5).abs() < 1e-9);
        assert!((figure("storm_handshakes_per_second") - 32.0).abs() < 1e-9);
        assert!((figure("storm_most_handshakes_per_second") - 50.0).abs() < 1e-9);
        assert!((figure("storm_server_cores") - 0.5).abs() < 1e-9);
        assert!((figure("storm_worst_seconds") - 0.08).abs() < 1e-3);
    }

    #[test]
    fn a_storm_from_which_nobody_returns_has_no_rate() {
        let mut outcome = Outcome::default();
        times(&mut outcome, &[]);
        assert!(outcome.figures["storm_seconds_until_last"].abs() < 1e-9);
        assert!(outcome.figures["storm_handshakes_per_second"].abs() < 1e-9);
    }

    #[test]
    fn a_storm_is_over_well_before_the_load_is() {
        let within = Duration::from_secs(10);
        assert!(Storm::length(within) > CALM + within + Duration::from_secs(5));
    }
}
