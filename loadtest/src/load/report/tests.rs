use std::time::Duration;

use super::*;
use crate::load::scenario::Used;

/// Half a million deliveries in ten seconds, the n-th of them n / 500,000 ms late.
pub(super) fn outcome() -> Outcome {
    let mut outcome = Outcome {
        scenario: "fanout".to_owned(),
        target: "chat-server".to_owned(),
        window_seconds: 10.0,
        floor: Some(4e-6),
        ..Outcome::default()
    };
    outcome.asked = Asked {
        servers: 1,
        workers: 1,
        rooms: 100,
        members: 100,
        size: 200,
        rate: Some(500.0),
        durable: true,
        measure: Duration::from_secs(10),
        ..Asked::default()
    };
    (1..=500_000u64).for_each(|number| outcome.tally.latency.record(number * 2));
    outcome.tally.window.delivered = 500_000;
    outcome.tally.window.sent = 5_000;
    outcome.tally.window.reads = 400_000;
    outcome.tally.received.expected = 600_000;
    outcome.tally.received.delivered = 600_000;
    outcome.tally.connections.entered = 10_000;
    outcome.server = Used {
        processes: 1,
        cpu_seconds: 2.5,
        rss_before: 20 << 20,
        rss_idle: 40 << 20,
        rss_after: 48 << 20,
        threads: 5,
        files: 10_020,
    };
    outcome.workers = Used { processes: 1, cpu_seconds: 1.5, ..Used::default() };
    outcome.figures.insert("handshakes_per_second".to_owned(), 3436.0);
    outcome.services = Used { processes: 2, cpu_seconds: 4.0, ..Used::default() };
    (outcome.taken_by_others, outcome.tcp_bytes_idle) = (0.07, 4 << 20);
    outcome
}

pub(super) fn report() -> Report {
    Report {
        command: "loadtest fanout --rooms 100".to_owned(),
        machine: Machine {
            cpu_model: "Some CPU".to_owned(),
            cores: 2,
            memory_bytes: 8 << 30,
            kernel: "Linux 6.18".to_owned(),
        },
        outcomes: vec![outcome()],
        faults: Vec::new(),
    }
}

#[test]
fn a_command_can_be_typed_again() {
    let words = ["/usr/bin/loadtest", "fanout", "--set", "A=it's 1", ""];
    let line = command(words.iter().map(ToString::to_string));
    assert_eq!(line, r"loadtest fanout --set 'A=it'\''s 1' ''");
}

#[test]
fn what_was_asked_is_a_line() {
    let line = "100 rooms of 100, 500 messages/s, 200 bytes each, durable, plain TCP, 10 s";
    assert_eq!(asked(&outcome()), line);
    let mut idle = outcome();
    (idle.asked.rate, idle.asked.tls) = (None, true);
    assert_eq!(asked(&idle), "100 rooms of 100, TLS, 10 s");
    idle.asked.window = Some("16 a room".to_owned());
    let line = "100 rooms of 100, 16 a room under way, 200 bytes each, durable, TLS, 10 s";
    assert_eq!(asked(&idle), line);
}

#[test]
fn a_report_is_kept_as_json_markdown_and_plots_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("made/fanout.json");
    let files = report().keep(&base).unwrap();
    let names: Vec<_> =
        files.iter().map(|file| file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["fanout.json", "fanout.md", "fanout-latency.svg"]);
    assert_eq!(Report::read(&base).unwrap(), report());
    let markdown = fs::read_to_string(&files[1]).unwrap();
    assert!(markdown.contains("(fanout-latency.svg)"), "{markdown}");
}
