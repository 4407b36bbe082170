//! What group commit is worth: durable messages a second, and how long one waits for its
//! acknowledgement.
//!
//! In one run, in turns: a transaction for each message on one connection (the way one would
//! write it first: six statements; and the same as one call of a function), then the committer
//! with as many publishers as saturate it. After that 2,000 messages a second in an open loop,
//! timed from when each was due. PostgreSQL in a schema of its own in the database that
//! `DATABASE_URL` names, with its own settings, which must be durable; SQLite in a file. Publishers,
//! committer and database share this machine.
//!
//! `--quick` takes PostgreSQL alone and a third of the time; `--report FILE` writes the figures of
//! PostgreSQL as JSON, for `loadtest verdict`.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "log/bed.rs"]
mod bed;
#[path = "log/load.rs"]
mod load;
#[path = "log/one_by_one.rs"]
mod one_by_one;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use chat_server::store::Committer;

use bed::{Bed, Raw, Source};
use load::Outcome;

/// Rooms that are written to, and people in each.
const ROOMS: usize = 100;
const PEOPLE: usize = 50;

/// Publishers that saturate a committer: four batches of them.
const PUBLISHERS: usize = 1024;

/// The rate of the open loop.
const RATE: usize = 2000;

/// What the project promises: PostgreSQL only.
const PER_SECOND_MIN: f64 = 10_000.0;
const RATIO_MIN: f64 = 15.0;
const P99_MS_MAX: f64 = 10.0;

/// How long everything is measured.
#[derive(Debug, Clone, Copy)]
struct Length {
    /// Turns of each kind; the middle one counts.
    turns: usize,
    turn: Duration,
    /// The open loop.
    rate: Duration,
}

const WHOLE: Length =
    Length { turns: 5, turn: Duration::from_secs(3), rate: Duration::from_secs(15) };
const QUICK: Length =
    Length { turns: 3, turn: Duration::from_secs(2), rate: Duration::from_secs(5) };

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let is_quick = arguments.iter().any(|argument| argument == "--quick");
    let report = arguments.iter().skip_while(|argument| *argument != "--report").nth(1);
    let length = if is_quick { QUICK } else { WHOLE };
    let mut missed = Vec::new();
    if let Some(figures) = measure(&Bed::postgres().await?, length).await? {
        missed = figures.verdicts();
        if let Some(file) = report {
            std::fs::write(file, figures.to_json()).with_context(|| file.clone())?;
        }
    }
    if !is_quick {
        measure(&Bed::sqlite().await?, length).await?;
    }
    ensure!(missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}

/// What the project makes promises about.
#[derive(Debug, Clone, Copy)]
struct Figures {
    six: Outcome,
    one: Outcome,
    group: Outcome,
    rate: Outcome,
}

/// Measures; figures only where there is one to compare with that makes six round trips.
async fn measure(bed: &Bed, length: Length) -> anyhow::Result<Option<Figures>> {
    println!("\n## {} ({})\n", bed.name, bed.ensure_durable().await?);
    println!("{ROOMS} rooms with {PEOPLE} members, messages of about 200 bytes with a key each.\n");
    let rooms = bed.rooms(ROOMS, PEOPLE).await?;
    let source = Source::new(&rooms, PEOPLE);
    let committer = bed::committer(&bed.store);
    // Statements are prepared, pages are in memory.
    load::saturate(&committer, &source, PUBLISHERS, Duration::from_secs(1)).await;

    let (mut six, mut one, mut group) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..length.turns {
        if let Raw::Postgres(pool) = &bed.raw {
            six.push(one_by_one::six_statements(pool, &source, length.turn).await?);
        }
        one.push(load::saturate(&committer, &source, 1, length.turn).await);
        group.push(load::saturate(&committer, &source, PUBLISHERS, length.turn).await);
    }
    println!("| one transaction for | messages/s | in turns | ack P50 ms | P99 | P99.9 |");
    println!("|---|---|---|---|---|---|");
    let six = row("each message, six round trips", six);
    let one = row("each message, one call", one);
    let group = row("what gathered (group commit)", group);
    let rate = at_rate(&committer, &source, length.rate).await;
    committer.close().await;
    let (Some(one), Some(group)) = (one, group) else { return Ok(None) };
    println!("\ngroup commit is {:.1} x one call a message", group.per_second / one.per_second);
    ensure!(group.failed + rate.failed == 0, "messages were refused");
    Ok(six.map(|six| Figures { six, one, group, rate }))
}

async fn at_rate(committer: &Arc<Committer>, source: &Source, time: Duration) -> Outcome {
    let rate = load::at_rate(committer, source, RATE, time).await;
    let Outcome { p50_ms, p99_ms, p999_ms, per_second, .. } = rate;
    println!(
        "| {RATE}/s for {} s, from when due | {per_second:.0} | | {p50_ms:.2} | {p99_ms:.2} | {p999_ms:.2} |",
        time.as_secs()
    );
    rate
}

/// Prints the turn in the middle.
fn row(name: &str, mut turns: Vec<Outcome>) -> Option<Outcome> {
    let all: Vec<String> = turns.iter().map(|turn| format!("{:.0}", turn.per_second)).collect();
    turns.sort_by(|one, other| one.per_second.total_cmp(&other.per_second));
    let middle = *turns.get(turns.len() / 2)?;
    let Outcome { per_second, p50_ms, p99_ms, p999_ms, .. } = middle;
    println!(
        "| {name} | {per_second:.0} | {} | {p50_ms:.2} | {p99_ms:.2} | {p999_ms:.2} |",
        all.join(" ")
    );
    Some(middle)
}

impl Figures {
    /// For programs: names with their units last.
    fn to_json(self) -> String {
        let Self { six, one, group, rate } = self;
        let report = serde_json::json!({
            "bench": "group_commit",
            "figures": {
                "messages_per_second": group.per_second,
                "one_by_one_per_second": six.per_second,
                "one_call_per_second": one.per_second,
                "to_one_by_one_ratio": group.per_second / six.per_second,
                "to_one_call_ratio": group.per_second / one.per_second,
                "acknowledged_at_2000_p50_ms": rate.p50_ms,
                "acknowledged_at_2000_p99_ms": rate.p99_ms,
            },
        });
        format!("{report:#}\n")
    }

    /// Prints what holds, and gives what does not.
    fn verdicts(self) -> Vec<String> {
        let Self { six, group, rate, .. } = self;
        let ratio = group.per_second / six.per_second;
        println!("\n| figure | value | target | verdict |");
        println!("|---|---|---|---|");
        let mut missed = Vec::new();
        let mut verdict = |name: &str, value: String, target: String, met: bool| {
            println!("| {name} | {value} | {target} | {} |", if met { "met" } else { "MISSED" });
            if !met {
                missed.push(name.to_owned());
            }
        };
        let rate_99 = format!("ack P99 at {RATE}/s");
        verdict(
            "durable messages/s",
            format!("{:.0}", group.per_second),
            format!("at least {PER_SECOND_MIN:.0}"),
            group.per_second >= PER_SECOND_MIN,
        );
        verdict(
            "against one transaction a message",
            format!("{ratio:.1} x"),
            format!("at least {RATIO_MIN:.0} x"),
            ratio >= RATIO_MIN,
        );
        verdict(
            &rate_99,
            format!("{:.2} ms", rate.p99_ms),
            format!("below {P99_MS_MAX:.0} ms"),
            rate.p99_ms < P99_MS_MAX,
        );
        missed
    }
}
