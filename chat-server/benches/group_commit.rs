//! What group commit is worth: durable messages a second, and how long one waits for its
//! acknowledgement.
//!
//! In one run, in turns: a transaction for each message on one connection (the way one would
//! write it first: six statements; and the same as one call of a function), then the committer
//! with as many publishers as saturate it. After that 2,000 messages a second in an open loop,
//! timed from when each was due. PostgreSQL in a schema of its own in the database that
//! `DATABASE_URL` names, with its own settings, which must be durable; SQLite in a file. Publishers,
//! committer and database share this machine.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "log/bed.rs"]
mod bed;
#[path = "log/load.rs"]
mod load;
#[path = "log/one_by_one.rs"]
mod one_by_one;

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use chat_server::store::Committer;

use bed::{Bed, Raw, Source};
use load::Outcome;

/// Rooms that are written to, and people in each.
const ROOMS: usize = 100;
const PEOPLE: usize = 50;

/// Publishers that saturate a committer: four batches of them.
const PUBLISHERS: usize = 1024;

/// Turns of each kind; the middle one counts.
const TURNS: usize = 5;

/// One turn.
const TURN: Duration = Duration::from_secs(3);

/// The open loop.
const RATE: usize = 2000;
const RATE_TIME: Duration = Duration::from_secs(15);

/// What the project promises: PostgreSQL only.
const PER_SECOND_MIN: f64 = 10_000.0;
const RATIO_MIN: f64 = 15.0;
const P99_MS_MAX: f64 = 10.0;

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let mut missed = Vec::new();
    for bed in [Bed::postgres().await?, Bed::sqlite().await?] {
        missed.extend(measure(&bed).await?);
    }
    ensure!(missed.is_empty(), "missed: {}", missed.join(", "));
    Ok(())
}

async fn measure(bed: &Bed) -> anyhow::Result<Vec<String>> {
    println!("\n## {} ({})\n", bed.name, bed.ensure_durable().await?);
    println!("{ROOMS} rooms with {PEOPLE} members, messages of about 200 bytes with a key each.\n");
    let rooms = bed.rooms(ROOMS, PEOPLE).await?;
    let source = Source::new(&rooms, PEOPLE);
    let committer = bed::committer(&bed.store);
    // Statements are prepared, pages are in memory.
    load::saturate(&committer, &source, PUBLISHERS, Duration::from_secs(1)).await;

    let (mut six, mut one, mut group) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..TURNS {
        if let Raw::Postgres(pool) = &bed.raw {
            six.push(one_by_one::six_statements(pool, &source, TURN).await?);
        }
        one.push(load::saturate(&committer, &source, 1, TURN).await);
        group.push(load::saturate(&committer, &source, PUBLISHERS, TURN).await);
    }
    println!("| one transaction for | messages/s | in turns | ack P50 ms | P99 | P99.9 |");
    println!("|---|---|---|---|---|---|");
    let six = row("each message, six round trips", six);
    let one = row("each message, one call", one);
    let group = row("what gathered (group commit)", group);
    let rate = at_rate(&committer, &source).await;
    committer.close().await;
    let (Some(one), Some(group)) = (one, group) else { return Ok(Vec::new()) };
    println!();
    let against = |base: f64| group.per_second / base;
    println!("group commit is {:.1} x one call a message", against(one.per_second));
    ensure!(group.failed + rate.failed == 0, "messages were refused");
    let Some(six) = six else { return Ok(Vec::new()) };
    Ok(verdicts(group, rate, against(six.per_second)))
}

async fn at_rate(committer: &Arc<Committer>, source: &Source) -> Outcome {
    let rate = load::at_rate(committer, source, RATE, RATE_TIME).await;
    let Outcome { p50_ms, p99_ms, p999_ms, per_second, .. } = rate;
    println!(
        "| {RATE}/s for {} s, from when due | {per_second:.0} | | {p50_ms:.2} | {p99_ms:.2} | {p999_ms:.2} |",
        RATE_TIME.as_secs()
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

fn verdicts(group: Outcome, rate: Outcome, ratio: f64) -> Vec<String> {
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
