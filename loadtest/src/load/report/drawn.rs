//! Which plots a report has: percentiles wherever latency was measured, bars where targets are
//! compared, the course of a run that went on for a while.

use super::plot::{Bar, Bars, Course, Curve, Line, Panel};
use super::summary::{Figure, Summary, middle};
use super::turns::{Load, Turns};
use super::{MINUTE, Report, asked};
use crate::load::scenario::Outcome;
use crate::load::times::Times;

/// From this many seconds on, a run has a course.
const COURSE_SECONDS: f64 = 60.0;

/// Points of a curve: more cannot be seen at its width.
const POINTS: usize = 400;

/// Figures that are compared side by side.
const COMPARED: [(&str, Figure); 2] = [
    ("server CPU per delivery, us", |it| it.server_cpu_per_delivery_us),
    ("deliveries/s", |it| Some(it.deliveries_per_second)),
];

impl Report {
    /// Names and SVG of all plots.
    #[must_use]
    pub fn plots(&self) -> Vec<(String, String)> {
        let mut plots = Vec::new();
        let loads = self.by_load();
        for (number, load) in loads.iter().enumerate() {
            let name = |name: &str| match loads.len() {
                1 => name.to_owned(),
                _ => format!("{name}-{}", number + 1),
            };
            if let Some(curve) = self.curve(load) {
                plots.push((name("latency"), curve.svg()));
            }
            if load.targets.len() > 1 {
                plots.push((name("compared"), self.bars(load).svg()));
            }
            for Turns { target, outcomes } in &load.targets {
                let longest = outcomes.iter().find(|turn| turn.window_seconds >= COURSE_SECONDS);
                if let Some(course) = longest.map(|turn| self.course(turn)) {
                    let name = name("course");
                    let name =
                        if load.targets.len() > 1 { format!("{name}-{target}") } else { name };
                    plots.push((name, course.svg()));
                }
            }
        }
        plots
    }

    fn curve(&self, load: &Load<'_>) -> Option<Curve> {
        let lines: Vec<Line> = load.targets.iter().filter_map(line).collect();
        (!lines.is_empty()).then(|| Curve {
            title: "From when a message was due until it was received".to_owned(),
            below: format!("{}\n{}", load.title, self.machine),
            lines,
            p99_bound_ms: None,
        })
    }

    fn bars(&self, load: &Load<'_>) -> Bars {
        let groups = COMPARED.map(|(name, value)| {
            let bars = load.targets.iter().map(|turns| bar(turns, value));
            (name.to_owned(), bars.collect())
        });
        Bars {
            title: "Targets compared: the turn in the middle, and the least and greatest"
                .to_owned(),
            below: format!("{}\n{}", load.title, self.machine),
            groups: groups.into(),
        }
    }

    fn course(&self, outcome: &Outcome) -> Course {
        let mut rate = Vec::new();
        for two in outcome.moments.windows(2) {
            let [before, now] = two else { continue };
            let seconds = now.second - before.second;
            if before.second >= 0.0 && seconds > 0.0 {
                let came = now.delivered.saturating_sub(before.delivered) as f64;
                rate.push((now.second, came / seconds));
            }
        }
        let loaded = outcome.moments.iter().filter(|moment| moment.second >= 0.0);
        let late = loaded.clone().filter(|moment| moment.latency.count() > 0);
        let p99 = late.map(|it| (it.second, it.latency.at(0.99).as_secs_f64() * 1e3));
        let present = loaded.map(|it| (it.second, it.present as f64));
        let panel = |name: &str, points| Panel { name: name.to_owned(), points };
        Course {
            title: format!("The course of {}: {}", outcome.scenario, outcome.target),
            below: format!("{}\n{}", asked(outcome), self.machine),
            panels: vec![
                panel("deliveries/s", rate),
                panel("P99 of what came since the point before, ms", p99.collect()),
                panel("connections in their rooms", present.collect()),
            ]
            .into_iter()
            .chain(memory(outcome))
            .collect(),
        }
    }
}

/// Memory minute by minute, of a run that kept it.
fn memory(outcome: &Outcome) -> Option<Panel> {
    let minutes = outcome.figures.iter().filter_map(|(name, bytes)| {
        let minute = name.strip_prefix(MINUTE)?.strip_suffix("_rss_bytes")?;
        let minute: f64 = minute.parse().ok()?;
        Some(((minute + 1.0) * 60.0, bytes / f64::from(1 << 20)))
    });
    let points: Vec<_> = minutes.collect();
    let name = "resident memory of the servers, MiB".to_owned();
    (points.len() > 1).then_some(Panel { name, points })
}

/// All turns of a target as one curve.
fn line(turns: &Turns<'_>) -> Option<Line> {
    let mut all = Times::default();
    turns.outcomes.iter().for_each(|turn| all.add(&turn.tally.latency));
    (all.count() > 0).then(|| {
        let nines = (all.count() as f64).log10();
        let quantiles =
            (0..=POINTS).map(|point| 1.0 - 10f64.powf(-nines * point as f64 / POINTS as f64));
        let points = quantiles.map(|quantile| (quantile, all.at(quantile).as_secs_f64() * 1e3));
        Line { name: turns.target.to_owned(), count: all.count(), points: points.collect() }
    })
}

fn bar(turns: &Turns<'_>, value: Figure) -> Bar {
    let values: Vec<f64> =
        turns.outcomes.iter().filter_map(|turn| value(&Summary::of(turn))).collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(0.0, f64::max);
    let range = (values.len() > 1).then_some((least, greatest));
    Bar { name: turns.target.to_owned(), value: middle(values), range }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outcome, report};
    use crate::load::scenario::Moment;

    fn names(report: &super::Report) -> Vec<String> {
        report.plots().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn a_short_run_of_one_target_has_its_percentiles() {
        assert_eq!(names(&report()), ["latency"]);
        let mut idle = report();
        idle.outcomes[0].tally = crate::load::tally::Tally::default();
        assert!(names(&idle).is_empty());
    }

    #[test]
    fn targets_are_compared_for_each_load() {
        let mut report = report();
        let mut peer = outcome();
        peer.target = "nchan".to_owned();
        let mut pressed = peer.clone();
        (pressed.asked.rate, pressed.asked.window) = (None, Some("16 a room".to_owned()));
        report.outcomes.extend([peer, pressed]);
        assert_eq!(names(&report), ["latency-1", "compared-1", "latency-2"]);
    }

    #[test]
    fn a_long_run_has_a_course() {
        let mut report = report();
        let outcome = &mut report.outcomes[0];
        outcome.window_seconds = 120.0;
        for second in -2i32..120 {
            let mut moment = Moment { second: f64::from(second), ..Moment::default() };
            moment.delivered = second.max(0).unsigned_abs().into();
            moment.latency.record(1_000_000);
            outcome.moments.push(moment);
        }
        outcome.figures.insert("minute_000_rss_bytes".to_owned(), 1e8);
        outcome.figures.insert("minute_001_rss_bytes".to_owned(), 1.1e8);
        let plots = report.plots();
        assert_eq!(plots[1].0, "course");
        for panel in ["deliveries/s", "P99", "resident memory of the servers, MiB"] {
            assert!(plots[1].1.contains(panel), "{panel}");
        }
    }
}
