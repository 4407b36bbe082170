//! A room with a million messages: how long its pages take, from anywhere.
//!
//! Fills one room in each store (a schema of its own in the PostgreSQL that `DATABASE_URL` names, a
//! file for SQLite, both removed afterwards), reads thousands of pages at random places and checks
//! them, appends, and asks the database how it goes about it: anything but look-ups by an index
//! fails the run.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "log/bed.rs"]
mod bed;

use std::time::Duration;

use anyhow::{bail, ensure};
use chat_server::room::{LogId, RoomId};
use chat_server::store::Range;
use tokio::time::Instant;

use bed::{Bed, Raw, Source, percentile};

/// Messages in the room.
const MESSAGES: u64 = 1_000_000;

/// And in each of some others around it.
const OTHERS: usize = 10;
const OTHER_MESSAGES: u64 = 10_000;

/// Rooms with nothing in them.
const EMPTY: usize = 5000;

/// Rows of one statement that fills.
const CHUNK: u64 = 100_000;

/// People in the room.
const PEOPLE: usize = 50;

/// Pages of each kind.
const PAGES: usize = 1000;

/// Messages appended one after the other.
const APPENDS: usize = 500;

/// What the project promises.
const P99_MS_MAX: f64 = 10.0;

/// What is read, each from random places.
const KINDS: [Kind; 5] = [
    Kind { name: "history forward, 50", range: Range::After, limit: 50 },
    Kind { name: "history forward, 256", range: Range::After, limit: 256 },
    Kind { name: "history backward, 50", range: Range::Before, limit: 50 },
    Kind { name: "history backward, 256", range: Range::Before, limit: 256 },
    Kind { name: "resume, 256", range: Range::After, limit: 256 },
];

/// One way to read a page.
struct Kind {
    name: &'static str,
    range: fn(u64) -> Range,
    limit: usize,
}

fn main() -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let mut missed = 0;
    for bed in [Bed::postgres().await?, Bed::sqlite().await?] {
        missed += measure(&bed).await?;
    }
    ensure!(missed == 0, "{missed} figures missed their target");
    Ok(())
}

async fn measure(bed: &Bed) -> anyhow::Result<usize> {
    println!("\n## {} ({})\n", bed.name, bed.ensure_durable().await?);
    let rooms = bed.rooms(OTHERS + 1, PEOPLE).await?;
    crowd(bed).await?;
    let begun = Instant::now();
    for (place, room) in rooms.iter().enumerate() {
        let (messages, salt) = if place == 0 { (MESSAGES, 0) } else { (OTHER_MESSAGES, place) };
        fill(bed, *room, messages, salt).await?;
    }
    let analyze = match &bed.raw {
        // What autovacuum does by itself after a while.
        Raw::Postgres(_) => "VACUUM ANALYZE rooms, messages",
        Raw::Sqlite(_) => "PRAGMA wal_checkpoint(TRUNCATE)",
    };
    bed.run(analyze.to_owned()).await?;
    println!("{MESSAGES} messages in one room, {OTHER_MESSAGES} in each of {OTHERS} others,");
    println!("written in {:.0} s\n", begun.elapsed().as_secs_f64());
    check_plans(bed, rooms[0].log()).await?;

    println!("| what | P50 ms | P99 | largest | target | verdict |");
    println!("|---|---|---|---|---|---|");
    let mut missed = 0;
    for Kind { name, range, limit } in KINDS {
        let mut took = Vec::with_capacity(PAGES);
        for _ in 0..PAGES {
            let offset = rand::random_range(0..=MESSAGES);
            took.push(page(bed, rooms[0].log(), range(offset), limit).await?);
        }
        missed += row(name, took);
    }
    missed += row("append, one alone", append(bed, rooms[0]).await?);
    Ok(missed)
}

/// Makes rooms in which nobody has said anything.
async fn crowd(bed: &Bed) -> anyhow::Result<()> {
    let select = match &bed.raw {
        Raw::Postgres(_) => format!("gen_random_uuid(), 1, 0 FROM generate_series(1, {EMPTY})"),
        Raw::Sqlite(_) => format!(
            "randomblob(16), 1, 0 FROM (WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL \
                 SELECT n + 1 FROM s WHERE n < {EMPTY}) SELECT n FROM s)"
        ),
    };
    bed.run(format!("INSERT INTO rooms (id, kind, created_at) SELECT {select}")).await
}

/// Writes messages as they would stand there, without going through the store.
async fn fill(bed: &Bed, room: RoomId, messages: u64, salt: usize) -> anyhow::Result<()> {
    let id = bed.id(room.uuid());
    let body = r#"{"type":"message","id":"01890a5d-ac96-774b-bcce-b302099a8057","body":"The quick brown fox jumps over the lazy dog.","sender":{"id":"user7","name":"Somebody"},"idem":"67e55044-10b1-426f-9247-bb680e5fe0c8","n":"#;
    for from in (0..messages).step_by(usize::try_from(CHUNK)?) {
        let (first, last) = (from + 1, (from + CHUNK).min(messages));
        let select = match &bed.raw {
            Raw::Postgres(_) => format!(
                "SELECT {id}, n, lpad(to_hex({salt} * 10000000 + n), 32, '0')::uuid, 1, \
                     'user' || n % {PEOPLE}, gen_random_uuid(), 1, n, \
                     convert_to('{body}' || n || '}}', 'UTF8') \
                 FROM generate_series({first}, {last}) AS n"
            ),
            Raw::Sqlite(_) => format!(
                "WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s \
                     WHERE n < {last}) \
                 SELECT {id}, n, unhex(printf('%032x', {salt} * 10000000 + n)), 1, \
                     'user' || n % {PEOPLE}, randomblob(16), 1, n, \
                     CAST('{body}' || n || '}}' AS BLOB) FROM s"
            ),
        };
        bed.run(format!(
            "INSERT INTO messages \
                 (room_id, off, id, kind, sender, idem, digest, created_at, payload) {select}"
        ))
        .await?;
    }
    bed.run(format!("UPDATE rooms SET head = {messages} WHERE id = {id}")).await
}

async fn check_plans(bed: &Bed, log: LogId) -> anyhow::Result<()> {
    let plans = bed.store.plans(log).await?;
    for plan in &plans {
        if let Some(step) = plan.full_scans().next() {
            bail!("{}: {step}\n{plan:#?}", plan.name);
        }
    }
    let names: Vec<&str> = plans.iter().map(|plan| plan.name).collect();
    println!("by index only: {}\n", names.join(", "));
    Ok(())
}

/// Reads one page and checks that it is the right one.
async fn page(bed: &Bed, log: LogId, range: Range, limit: usize) -> anyhow::Result<Duration> {
    let begun = Instant::now();
    let events = bed.store.page(log, range, limit).await?;
    let took = begun.elapsed();
    let offsets: Vec<u64> = events.iter().map(|event| event.offset).collect();
    let expected: Vec<u64> = match range {
        Range::After(offset) => (offset + 1..=MESSAGES).take(limit).collect(),
        Range::Before(offset) => (1..offset).rev().take(limit).collect(),
    };
    ensure!(offsets == expected, "{range:?} gave {offsets:?}");
    Ok(took)
}

async fn append(bed: &Bed, room: RoomId) -> anyhow::Result<Vec<Duration>> {
    let committer = bed::committer(&bed.store);
    let source = Source::new(&[room], PEOPLE);
    let mut took = Vec::with_capacity(APPENDS);
    for number in 1..=APPENDS {
        let begun = Instant::now();
        let appended = committer.append(source.message()).await?;
        took.push(begun.elapsed());
        ensure!(appended.offset == MESSAGES + number as u64, "a hole before {appended:?}");
    }
    committer.close().await;
    Ok(took)
}

/// Prints a line, and says whether it missed.
fn row(name: &str, mut took: Vec<Duration>) -> usize {
    took.sort_unstable();
    let [p50_ms, p99_ms, largest] = [500, 990, 1000].map(|part| percentile(&took, part));
    let met = p99_ms < P99_MS_MAX;
    let verdict = if met { "met" } else { "MISSED" };
    println!(
        "| {name} | {p50_ms:.2} | {p99_ms:.2} | {largest:.2} | P99 below {P99_MS_MAX:.0} | {verdict} |"
    );
    usize::from(!met)
}
