//! A table for documents: what docs/PERFORMANCE.md is made of.
//!
//! One row for each target and load; of several turns the one in the middle, with the least and the
//! greatest behind it where they say something. A figure that was not measured is a blank.

use std::fmt::Write as _;

use super::summary::{Figure, Summary, middle};
use super::turns::Turns;
use super::words::{count, figure, number, size};
use super::{Report, told};

/// The columns: what each is called, and what is in it.
const COLUMNS: [(&str, Figure); 9] = [
    ("deliveries/s", |it| it.latency.map(|_| it.deliveries_per_second)),
    ("messages/s", |it| it.latency.map(|_| it.messages_per_second)),
    ("P50 ms", |it| it.latency.map(|it| it.p50_ms)),
    ("P90", |it| it.latency.map(|it| it.p90_ms)),
    ("P99", |it| it.latency.map(|it| it.p99_ms)),
    ("P99.9", |it| it.latency.map(|it| it.p999_ms)),
    ("max", |it| it.latency.map(|it| it.max_ms)),
    ("CPU us per delivery", |it| it.server_cpu_per_delivery_us),
    ("x raw", |it| it.floor_ratio),
];

impl Report {
    /// The report as Markdown; `plots` are the names of files beside it.
    #[must_use]
    pub fn to_markdown(&self, plots: &[String]) -> String {
        let mut text = String::new();
        let mut line = |it: &str| {
            // Writing to a string cannot fail.
            let _written = writeln!(text, "{it}").is_ok();
        };
        for load in self.by_load() {
            line(&format!("### {}\n", load.title));
            let heads = COLUMNS.map(|(name, _)| name).join(" | ");
            line(&format!("| | {heads} | lost | doubled | memory per connection |"));
            line(&format!("|---|{}", "---:|".repeat(COLUMNS.len() + 3)));
            for turns in &load.targets {
                line(&row(turns));
            }
            line("");
        }
        for outcome in &self.outcomes {
            for (name, value) in told(outcome) {
                let (name, value) = figure(name, value);
                line(&format!("- {}, {name}: {value}", outcome.target));
            }
            let others = number(outcome.taken_by_others * 100.0);
            line(&format!("- {}, the machine: {others} % of it taken by others", outcome.target));
            outcome.notes.iter().for_each(|note| line(&format!("- {}: {note}", outcome.target)));
        }
        line(&format!("- Measured on {} by `{}`.", self.machine, self.command));
        plots.iter().for_each(|plot| line(&format!("\n![]({plot})")));
        text
    }
}

fn row(Turns { target, outcomes }: &Turns<'_>) -> String {
    let turns: Vec<Summary> = outcomes.iter().map(|outcome| Summary::of(outcome)).collect();
    let cells = COLUMNS.map(|(_, value)| cell(turns.iter().filter_map(value).collect()));
    let sum = |of: fn(&Summary) -> u64| count(turns.iter().map(of).sum());
    let (lost, doubled) = (sum(|it| it.lost_count), sum(|it| it.doubled_count));
    let memory = middle(turns.iter().filter_map(|it| it.server_per_connection_bytes).collect());
    let memory = memory.map(size).unwrap_or_default();
    format!("| {target} | {} | {lost} | {doubled} | {memory} |", cells.join(" | "))
}

/// The middle, and the range where the turns differ by more than their digits.
fn cell(values: Vec<f64>) -> String {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(0.0, f64::max);
    let Some(middle) = middle(values).map(number) else { return String::new() };
    match (number(least), number(greatest)) {
        (least, greatest) if least == greatest => middle,
        (least, greatest) => format!("{middle} ({least} to {greatest})"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outcome, report};

    #[test]
    fn a_table_has_the_middle_of_all_turns_and_a_blank_for_what_was_not_measured() {
        let mut report = report();
        for (turn, cpu) in [2.0, 3.5].into_iter().enumerate() {
            let mut again = outcome();
            again.server.cpu_seconds = cpu;
            again.tally.received.doubled = turn as u64;
            report.outcomes.push(again);
        }
        let mut peer = outcome();
        (peer.target, peer.floor) = ("nchan".to_owned(), None);
        peer.server = crate::load::scenario::Used::default();
        report.outcomes.push(peer);
        let text = report.to_markdown(&["a.svg".to_owned()]);
        let ours = "| chat-server | 50,000 | 500 | 0.50 | 0.90 | 0.99 | 1.00 | 1.00 | \
                    5.00 (4.00 to 7.00) | 1.25 (1.00 to 1.75) | 0 | 1 | 2.05 KiB |";
        let theirs = "| nchan | 50,000 | 500 | 0.50 | 0.90 | 0.99 | 1.00 | 1.00 |  |  | 0 | 0 |  |";
        for line in [ours, theirs, "![](a.svg)"] {
            assert!(text.lines().any(|it| it == line), "{line:?} is missing:\n{text}");
        }
        let columns = |line: &str| line.matches('|').count();
        let table: Vec<_> = text.lines().filter(|line| line.starts_with('|')).collect();
        assert!(table.iter().all(|line| columns(line) == columns(table[0])), "{text}");
        assert!(text.contains("`loadtest fanout --rooms 100`"), "{text}");
    }
}
