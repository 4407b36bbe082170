//! What is seen while a run goes on: a bar with live figures on a terminal, a plain line every few
//! seconds where nobody can watch one, as in a log.
//!
//! All of it goes to stderr, so that stdout has the report alone. The screen looks at the processes
//! itself, at most once a moment; one that is gone is left out, for the run finds out by itself.

#![expect(clippy::print_stderr, reason = "it tells people how far a run is")]

use std::io::{IsTerminal as _, stderr};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::Instant;

use super::words::{count, number, size, time};
use crate::load::meter::{Meter, Reading};
use crate::load::scenario::Moment;

/// Between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A bar has so many steps: a tenth of a percent.
const STEPS: u64 = 1_000;

const TEMPLATE: &str = "{prefix:.bold} {bar:24.cyan/blue} {percent:>3}% {wide_msg}";

/// The progress of a run. Dropping it takes the bar away.
#[derive(Debug)]
pub struct Screen {
    bar: Option<ProgressBar>,
    title: String,
    /// How long the load goes on.
    length: Duration,
    /// Connections that are to be made.
    connections: u64,
    meter: Meter,
    before: Option<(Reading, Moment)>,
    said: Option<Instant>,
}

impl Screen {
    /// Begins to tell of a run: on stderr, as far as that is a terminal.
    #[must_use]
    pub fn new(title: &str, connections: usize, length: Duration) -> Self {
        let bar = stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template(TEMPLATE).expect("the template is sound");
            let bar = ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr());
            bar.set_style(style.progress_chars("##-"));
            bar.set_prefix(title.to_owned());
            bar
        });
        Self {
            bar,
            title: title.to_owned(),
            length,
            connections: connections as u64,
            meter: Meter::default(),
            before: None,
            said: None,
        }
    }

    /// Whose processes are shown from now on.
    pub fn watch(&mut self, meter: Meter) {
        (self.meter, self.before) = (meter, None);
    }

    /// Something that has no figures: servers start, a bench is compiled.
    pub fn step(&mut self, text: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("{}: {text}", self.title),
        }
    }

    /// How the run stands.
    pub fn moment(&mut self, moment: &Moment) {
        let reading = self.meter.read().ok();
        let text = self.text(moment, reading.as_ref());
        if let Some(bar) = &self.bar {
            bar.set_position(self.position(moment));
            bar.set_message(text);
        } else if self.said.is_none_or(|said| said.elapsed() >= LINE_EVERY) {
            let second = moment.second.max(0.0);
            eprintln!(
                "{}: {second:>4.0} of {:.0} s  {text}",
                self.title,
                self.length.as_secs_f64()
            );
            self.said = Some(Instant::now());
        }
        self.before = reading.map(|reading| (reading, moment.clone()));
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    /// Half of nothing is nothing: while connections are made it is they that count, then time.
    fn position(&self, moment: &Moment) -> u64 {
        let part = if moment.second < 0.0 || self.length.is_zero() {
            moment.present as f64 / self.connections.max(1) as f64
        } else {
            moment.second / self.length.as_secs_f64()
        };
        (1..=STEPS).rev().find(|step| *step as f64 <= part * STEPS as f64).unwrap_or(0)
    }

    /// The live figures as a line.
    fn text(&self, moment: &Moment, reading: Option<&Reading>) -> String {
        let mut parts = vec![format!("{} in", count(moment.present))];
        if moment.gone > 0 {
            parts.push(format!("{} GONE", count(moment.gone)));
        }
        if moment.second >= 0.0 && moment.expected > 0 {
            if let Some((_, before)) = &self.before {
                let came = moment.delivered.saturating_sub(before.delivered) as f64;
                let rate = came / (moment.second - before.second).max(0.001);
                parts.push(format!("{}/s", number(rate)));
            }
            if moment.latency.count() > 0 {
                parts.push(format!("P99 {}", time(moment.latency.at(0.99))));
            }
            let missing = moment.expected.saturating_sub(moment.delivered);
            parts.push(format!("{} under way", count(missing)));
        }
        if moment.wrong > 0 {
            parts.push(format!("{} WRONG", count(moment.wrong)));
        }
        if let Some(reading) = reading.filter(|_| !self.meter.servers.is_empty()) {
            if let Some((before, _)) = &self.before {
                let spent = reading.since(before);
                parts.push(format!("CPU {} cores", number(spent.cores(spent.servers))));
            }
            parts.push(size(reading.servers.resident_bytes as f64));
        }
        parts.join("  ")
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(second: f64, delivered: u64) -> Moment {
        let mut moment = Moment { second, present: 10_000, delivered, ..Moment::default() };
        moment.expected = delivered + 120;
        moment.latency.record(1_100_000);
        moment
    }

    #[test]
    fn live_figures_are_those_since_the_moment_before() {
        let mut screen = Screen::new("fanout", 10_000, Duration::from_secs(30));
        screen.watch(Meter { servers: vec![std::process::id()], ..Meter::default() });
        let first = screen.meter.read().unwrap();
        screen.before = Some((first, moment(1.0, 50_000)));
        let text = screen.text(&moment(3.0, 150_000), Some(&screen.meter.read().unwrap()));
        let begins = "10,000 in  50,000/s  P99 1.10 ms  120 under way  CPU ";
        assert!(text.starts_with(begins) && text.ends_with("iB"), "{text}");
    }

    #[test]
    fn what_goes_wrong_is_shown_at_once() {
        let screen = Screen::new("fanout", 10_000, Duration::from_secs(30));
        let wrong = Moment { gone: 3, wrong: 7, ..moment(1.0, 10) };
        let text = screen.text(&wrong, None);
        assert!(text.contains("3 GONE") && text.contains("7 WRONG"), "{text}");
    }

    #[test]
    fn the_bar_follows_connections_first_and_time_after_that() {
        let screen = Screen::new("fanout", 20_000, Duration::from_secs(30));
        assert_eq!(screen.position(&moment(-1.0, 0)), STEPS / 2);
        assert_eq!(screen.position(&moment(7.5, 0)), STEPS / 4);
        assert_eq!(screen.position(&moment(99.0, 0)), STEPS);
        assert_eq!(screen.position(&Moment { second: -1.0, ..Moment::default() }), 0);
    }
}
