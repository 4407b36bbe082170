use std::collections::BTreeMap;

use serde_json::json;

use super::*;
use crate::load::meter::Machine;
use crate::load::report::Report;
use crate::load::scenario::Outcome;

/// A file of a report with one outcome.
fn report(change: impl FnOnce(&mut Outcome)) -> String {
    let mut outcome =
        Outcome { target: "chat-server".to_owned(), window_seconds: 10.0, ..Outcome::default() };
    outcome.asked.members = 100;
    change(&mut outcome);
    let (command, machine) = (String::new(), Machine::default());
    Report { command, machine, outcomes: vec![outcome], faults: Vec::new() }.to_json().unwrap()
}

/// A fan-out with so many deliveries a second, all of them `ms` late.
fn fanout(rate: u32, durable: bool, ms: u64) -> String {
    report(|outcome| {
        "fanout".clone_into(&mut outcome.scenario);
        (outcome.asked.rate, outcome.asked.durable) = (Some(f64::from(rate) / 100.0), durable);
        (0..rate * 10).for_each(|_| outcome.tally.latency.record(ms * 1_000_000));
        outcome.tally.window.delivered = outcome.tally.latency.count();
    })
}

fn comparison(ours: f64, raw: f64) -> String {
    let cells = |cpu: f64, rate: f64| {
        let repeat = |cpu: f64| BTreeMap::from([("cpu_us", cpu), ("per_second", rate)]);
        json!([
            ["small_calm", [repeat(cpu * 9.0), repeat(cpu), repeat(cpu * 0.5)]],
            ["small_pressed", [repeat(cpu)]],
        ])
    };
    let row = |name: &str, cpu, rate| json!({ "name": name, "cells": cells(cpu, rate) });
    json!({
        "repeats": 3,
        "seconds": 1.0,
        "notes": [],
        "rows": [
            row("chat-server", ours, 4e6),
            row("raw `send`, 1 / 16 frames a call", raw, 9e6),
            row("Bun 1.4", 5.0, 4.5e6),
            row("nchan 1.3", 8.0, 1e6),
        ],
    })
    .to_string()
}

fn table(files: &[(&str, String)]) -> Table {
    let mut evidence = Evidence::default();
    files.iter().for_each(|(name, text)| evidence.add(name, text).unwrap());
    Table { rows: claims::rows(&evidence) }
}

fn row<'a>(table: &'a Table, what: &str) -> &'a Row {
    table.rows.iter().find(|row| row.what.contains(what)).unwrap()
}

#[test]
fn without_evidence_nothing_is_measured_and_all_eight_targets_are_there() {
    let table = table(&[]);
    assert!(table.rows.iter().all(|row| row.verdict == Verdict::NotMeasured));
    assert!(table.rows.iter().all(|row| row.figure.is_none() && row.source.is_empty()));
    let mut targets: Vec<u8> = table.rows.iter().map(|row| row.target).collect();
    targets.dedup();
    assert_eq!(targets, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert!(table.is_good(), "nothing fails");
}

#[test]
fn a_target_holds_fails_or_is_not_measured() {
    let table = table(&[("compare.json", comparison(4.8, 4.0))]);
    let raw = row(&table, "to raw send");
    assert_eq!(raw.verdict, Verdict::Holds);
    assert_eq!(raw.figure.as_deref(), Some("1.20 x (4.80 and 4.00 us)"), "of three, the middle");
    assert_eq!((raw.wanted.as_str(), raw.source.as_str()), ("at most 1.25 x", "compare.json"));
    assert_eq!(row(&table, "unbatched, to Bun").verdict, Verdict::Holds);
    assert_eq!(row(&table, "pressure, to Bun").verdict, Verdict::Holds);
    let nchan = row(&table, "to nchan");
    assert_eq!((nchan.verdict, nchan.wanted.as_str()), (Verdict::Fails, "at least 5.00 x"));
    assert_eq!(row(&table, "to nats-server").verdict, Verdict::NotMeasured, "it was not there");
    assert!(!table.is_good());
}

#[test]
fn of_several_files_the_worst_counts() {
    let files = [("a.json", comparison(4.0, 4.0)), ("b.json", comparison(6.0, 4.0))];
    let table = table(&files);
    let raw = row(&table, "to raw send");
    assert_eq!((raw.verdict, raw.source.as_str()), (Verdict::Fails, "b.json"));
}

#[test]
fn latency_counts_only_at_the_rate_the_target_names() {
    let durable = |rate| table(&[("fanout.json", fanout(rate, true, 9))]);
    let of = |table: &Table| {
        let row = row(table, "P99 of durable");
        (row.verdict, row.figure.clone().unwrap())
    };
    let (verdict, figure) = of(&durable(50_000));
    assert_eq!(verdict, Verdict::Holds);
    assert!(figure.starts_with("9.0") && figure.ends_with("(at 50,000 deliveries/s)"), "{figure}");
    assert_eq!(of(&durable(20_000)).0, Verdict::NotMeasured, "too little was asked");
    let slow = table(&[("fanout.json", fanout(100_000, false, 4))]);
    assert_eq!(row(&slow, "P99 of ephemeral").verdict, Verdict::Fails);
    assert_eq!(row(&slow, "P99 of durable").verdict, Verdict::NotMeasured);
}

#[test]
fn a_small_cluster_is_shown_and_proves_nothing() {
    let cluster = |connections: u64, lost: u64, seconds: f64| {
        let text = report(|outcome| {
            "cluster".clone_into(&mut outcome.scenario);
            outcome.asked.servers = 6;
            outcome.window_seconds = seconds;
            outcome.tally.connections.entered = connections;
            outcome.tally.received.expected = lost;
            outcome.figures.insert("rss_bytes_most".to_owned(), 0.5e9);
        });
        table(&[("cluster.json", text)])
    };
    let small = cluster(12_000, 0, 30.0);
    let row_of = |table: &Table| row(table, "lost or doubled").clone();
    assert_eq!(row_of(&small).verdict, Verdict::NotMeasured);
    assert_eq!(row_of(&small).figure.as_deref(), Some("0 (12,000 on 6 nodes for 30 s)"));
    assert_eq!(row(&small, "memory of 100,000").verdict, Verdict::NotMeasured);
    let whole = cluster(100_000, 0, 600.0);
    assert_eq!(row_of(&whole).verdict, Verdict::Holds);
    assert_eq!(row(&whole, "memory of 100,000").verdict, Verdict::Holds);
    assert_eq!(row_of(&cluster(100_000, 1, 600.0)).verdict, Verdict::Fails, "one is lost");
}

#[test]
fn memory_counts_once_every_connection_was_idle_for_a_while() {
    let connect = |seconds: f64, after: u64| {
        let text = report(|outcome| {
            "connect".clone_into(&mut outcome.scenario);
            outcome.window_seconds = seconds;
            outcome.tally.connections.entered = 10_000;
            outcome.server.rss_before = 20_000_000;
            outcome.server.rss_after = after;
        });
        let table = table(&[("connect.json", text)]);
        let row = row(&table, "per idle connection");
        (row.verdict, row.figure.clone().unwrap())
    };
    let (verdict, figure) = connect(30.0, 45_600_000);
    assert_eq!(verdict, Verdict::Holds);
    assert_eq!(figure, "2.50 KiB (of 10,000 connections after 30 s)");
    assert_eq!(connect(30.0, 45_700_000).0, Verdict::Fails);
    assert_eq!(connect(5.0, 45_600_000).0, Verdict::NotMeasured, "nobody was pinged yet");
}

#[test]
fn benches_speak_for_the_durable_rate() {
    let bench = json!({ "bench": "group_commit",
        "figures": { "messages_per_second": 25_301.0, "to_one_by_one_ratio": 12.0 } });
    let table = table(&[("group_commit.json", bench.to_string())]);
    assert_eq!(row(&table, "by group commit").verdict, Verdict::Holds);
    assert_eq!(row(&table, "by group commit").figure.as_deref(), Some("25,301/s"));
    assert_eq!(row(&table, "a transaction a message").verdict, Verdict::Fails);
}

#[test]
fn a_bench_speaks_for_a_stalled_peer() {
    let row_of = |mib: f64| {
        let bench = json!({ "bench": "stalled_peers", "figures": { "stalled_peer_mib": mib } });
        row(&table(&[("stalled_peers.json", bench.to_string())]), "a stalled peer").clone()
    };
    assert_eq!(row_of(0.15).verdict, Verdict::Holds);
    assert_eq!(row_of(0.15).figure.as_deref(), Some("0.15 MiB"));
    assert_eq!(row_of(0.41).verdict, Verdict::Fails);
}

#[test]
fn a_file_that_nobody_knows_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("notes.txt"), "anything").unwrap();
    assert!(Table::of(folder.path()).is_ok());
    std::fs::write(folder.path().join("odd.json"), "{}").unwrap();
    let error = format!("{:#}", Table::of(folder.path()).unwrap_err());
    assert!(error.contains("odd.json"), "{error}");
}

#[test]
fn tables_have_a_line_for_each_target_and_columns_below_each_other() {
    let table = table(&[("compare.json", comparison(4.8, 4.0))]);
    let markdown = table.to_markdown();
    let first = "| 1 | CPU per delivery, unbatched, to raw send | at most 1.25 x | \
                 1.20 x (4.80 and 4.00 us) | holds | compare.json |";
    assert!(markdown.lines().any(|line| line == first), "{markdown}");
    let text = table.to_string();
    let at = |word: &str| text.lines().find_map(|line| line.find(word)).unwrap();
    assert_eq!(at("verdict"), at("holds"), "{text}");
    assert_eq!(at("verdict"), at("DOES NOT HOLD"), "{text}");
    assert!(text.ends_with("3 hold, 1 do not, 15 are not measured\n"), "{text}");
}
