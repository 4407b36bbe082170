//! The table at the end of a run, for a terminal of a hundred columns.
//!
//! One outcome is told at length; several, as of a comparison, are one line each below each other.
//! What went wrong stands last, where it is seen.

use std::fmt::Write as _;

use super::summary::{Percentiles, Summary};
use super::words::{count, figure, number, size};
use super::{Report, asked, told};
use crate::load::scenario::Outcome;

/// How wide the names of figures are.
const NAME: usize = 26;

impl Report {
    /// The report as text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = Text(String::new());
        match &self.outcomes[..] {
            [one] => text.tell(one),
            all => text.compare(all),
        }
        for outcome in &self.outcomes {
            let whose = if self.outcomes.len() > 1 {
                format!("{}: ", outcome.target)
            } else {
                String::new()
            };
            outcome.notes.iter().for_each(|note| text.line(&format!("  note: {whose}{note}")));
        }
        text.line("");
        text.row("machine", &self.machine.to_string());
        text.row("again with", &self.command);
        for outcome in &self.outcomes {
            text.wrong(outcome);
        }
        self.faults.iter().for_each(|fault| text.row("WRONG", fault));
        if self.is_good() {
            text.row("verdict", "nothing lost, doubled, out of order or refused");
        }
        text.0
    }
}

#[derive(Debug)]
struct Text(String);

impl Text {
    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _written = writeln!(self.0, "{}", text.trim_end()).is_ok();
    }

    fn row(&mut self, name: &str, value: &str) {
        // A name that is too long for its column still ends before its value.
        let gap = if name.len() < NAME { "" } else { " " };
        self.line(&format!("  {name:NAME$}{gap}{value}"));
    }

    fn tell(&mut self, outcome: &Outcome) {
        let summary = Summary::of(outcome);
        self.line(&format!("{}: {}", outcome.scenario, outcome.target));
        self.line(&format!("  {}", asked(outcome)));
        self.line("");
        self.latencies(&summary);
        self.rates(&summary);
        self.costs(outcome, &summary);
        for (name, value) in told(outcome) {
            let (name, value) = figure(name, value);
            self.row(&name, &value);
        }
    }

    fn latencies(&mut self, summary: &Summary) {
        let rows = [
            ("delivered after", summary.latency),
            ("acknowledged after", summary.acknowledged),
            ("sent late by", summary.sent_late),
            ("in the room after", summary.entry),
            ("back after", summary.comeback),
        ];
        let rows: Vec<_> =
            rows.iter().filter_map(|(name, times)| Some((name, (*times)?))).collect();
        if rows.is_empty() {
            return;
        }
        let heads = ["P50", "P90", "P99", "P99.9", "max", "count"];
        self.line(&format!("  {:NAME$}{}", "milliseconds", cells(&heads.map(str::to_owned))));
        for (name, times) in rows {
            let Percentiles { count: times_count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = times;
            let [p50, p90, p99, p999, max] = [p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(number);
            self.row(name, &cells(&[p50, p90, p99, p999, max, count(times_count)]));
        }
        self.line("");
    }

    fn rates(&mut self, summary: &Summary) {
        if summary.latency.is_some() {
            let read = summary.deliveries_per_read.map(|read| format!(", {} a read", number(read)));
            let rate = number(summary.deliveries_per_second);
            self.row("deliveries", &format!("{rate}/s{}", read.unwrap_or_default()));
            self.row("messages", &format!("{}/s", number(summary.messages_per_second)));
            let [lost, doubled, swapped] =
                [summary.lost_count, summary.doubled_count, summary.out_of_order_count].map(count);
            self.row("lost", &format!("{lost}, doubled {doubled}, out of order {swapped}"));
        }
    }

    fn costs(&mut self, outcome: &Outcome, summary: &Summary) {
        if let Some(micros) = summary.server_cpu_per_delivery_us {
            let cores = number(summary.server_cores);
            self.row("CPU, server", &format!("{} us a delivery, {cores} cores", number(micros)));
        }
        if let Some(ratio) = summary.floor_ratio {
            let floor = summary.floor_cpu_per_delivery_us.unwrap_or_default();
            let text = format!("{} x that of raw writes, {} us", number(ratio), number(floor));
            self.row("", &text);
        }
        if let Some(micros) = summary.workers_cpu_per_delivery_us {
            let cores = number(summary.workers_cores);
            self.row("CPU, load", &format!("{} us a delivery, {cores} cores", number(micros)));
        }
        if let Some(cores) = summary.services_cores {
            self.row("CPU, stores and buses", &format!("{} cores", number(cores)));
        }
        let others = number(summary.taken_by_others_share * 100.0);
        self.row("taken by others", &format!("{others} % of the machine"));
        if outcome.server.processes > 0 {
            let [before, idle, after] = [
                summary.server_before_bytes,
                summary.server_idle_bytes,
                summary.server_after_bytes,
            ]
            .map(|bytes| size(bytes as f64));
            let text = format!("{before} empty, {idle} with all idle, {after} at the end");
            self.row("memory, server", &text);
        }
        if let Some(bytes) = summary.server_per_connection_bytes {
            let connections = count(summary.connected_count);
            let text = format!("{} for each of {connections} connections", size(bytes));
            self.row("", &text);
        }
        if summary.kernel_tcp_idle_bytes > 0 {
            let held = size(summary.kernel_tcp_idle_bytes as f64);
            self.row("memory, kernel", &format!("{held} for TCP with all idle"));
        }
    }

    fn compare(&mut self, outcomes: &[Outcome]) {
        let heads = ["deliveries/s", "P50 ms", "P99 ms", "P99.9", "us/deliv.", "x floor", "lost"];
        let mut before = String::new();
        for outcome in outcomes {
            let title = format!("{}: {}", outcome.scenario, asked(outcome));
            if title != before {
                self.line("");
                self.line(&title);
                self.line(&format!("  {:16}{}", "", wide(&heads.map(str::to_owned))));
                before = title;
            }
            let summary = Summary::of(outcome);
            let value = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), number);
            let times = summary.latency;
            let cells = [
                number(summary.deliveries_per_second),
                value(times.map(|it| it.p50_ms)),
                value(times.map(|it| it.p99_ms)),
                value(times.map(|it| it.p999_ms)),
                value(summary.server_cpu_per_delivery_us),
                value(summary.floor_ratio),
                count(summary.lost_count),
            ];
            self.line(&format!("  {:16}{}", outcome.target, wide(&cells)));
        }
    }

    fn wrong(&mut self, outcome: &Outcome) {
        for fault in outcome.tally.faults() {
            self.row("WRONG", &format!("{}: {fault}", outcome.target));
        }
        for (complaint, times) in &outcome.tally.complaints {
            self.row("", &format!("{} times: {complaint}", count(*times)));
        }
    }
}

fn cells(values: &[String]) -> String {
    values.iter().fold(String::new(), |line, value| format!("{line}{value:>12}"))
}

fn wide(values: &[String]) -> String {
    values.iter().fold(String::new(), |line, value| format!("{line}{value:>13}"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{outcome, report};

    /// Values in the columns of a table.
    fn below(values: [&str; 6]) -> String {
        super::cells(&values.map(str::to_owned))
    }

    #[test]
    fn one_outcome_is_told_at_length_with_every_unit() {
        let text = report().to_text();
        for line in [
            "fanout: chat-server",
            "  100 rooms of 100, 500 messages/s, 200 bytes each, durable, plain TCP, 10 s",
            &format!(
                "  milliseconds              {}",
                below(["P50", "P90", "P99", "P99.9", "max", "count"])
            ),
            &format!(
                "  delivered after           {}",
                below(["0.50", "0.90", "0.99", "1.00", "1.00", "500,000"])
            ),
            "  deliveries                50,000/s, 1.25 a read",
            "  messages                  500/s",
            "  lost                      0, doubled 0, out of order 0",
            "  CPU, server               5.00 us a delivery, 0.25 cores",
            "                            1.25 x that of raw writes, 4.00 us",
            "  CPU, load                 3.00 us a delivery, 0.15 cores",
            "  memory, server            20.0 MiB empty, 40.0 MiB with all idle, 48.0 MiB at the end",
            "                            2.05 KiB for each of 10,000 connections",
            "  handshakes                3,436/s",
            "  taken by others           7.00 % of the machine",
            "  CPU, stores and buses     0.40 cores",
            "  memory, kernel            4.00 MiB for TCP with all idle",
            "  machine                   2 cores of Some CPU, 8.00 GiB, Linux 6.18",
            "  again with                loadtest fanout --rooms 100",
            "  verdict                   nothing lost, doubled, out of order or refused",
        ] {
            assert!(text.lines().any(|it| it == line), "{line:?} is missing:\n{text}");
        }
    }

    #[test]
    fn several_outcomes_are_lines_below_each_other() {
        let mut report = report();
        let mut peer = outcome();
        (peer.target, peer.floor) = ("nchan".to_owned(), None);
        report.outcomes.push(peer);
        let text = report.to_text();
        let cells = ["50,000", "0.50", "0.99", "1.00", "5.00", "-", "0"].map(str::to_owned);
        let row = format!("  {:16}{}", "nchan", super::wide(&cells));
        assert!(text.lines().any(|it| it == row), "{text}");
        assert_eq!(text.matches("rooms of 100").count(), 1, "{text}");
    }

    #[test]
    fn what_went_wrong_stands_last() {
        let mut report = report();
        report.outcomes[0].tally.received.delivered -= 7;
        report.outcomes[0].tally.complain("the server hung up");
        report.faults.push("memory grows".to_owned());
        let text = report.to_text();
        assert!(!text.contains("nothing lost"), "{text}");
        let mut lines = text.lines().rev().map(|line| line.split_whitespace());
        let mut last = || lines.next().unwrap().collect::<Vec<_>>().join(" ");
        assert_eq!(last(), "WRONG memory grows");
        assert_eq!(last(), "1 times: the server hung up");
        assert_eq!(last(), "WRONG chat-server: 7 deliveries lost");
    }
}
