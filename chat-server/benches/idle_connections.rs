//! What an idle connection costs: resident memory of a server with 15,000 of them.
//!
//! Starts the release binary as a process of its own, opens authenticated WebSocket connections
//! that are subscribed to one channel each (100 to a channel), answers its pings for a whole ping
//! interval, and reads the server's resident set from /proc before, during and after. Run it with
//! `make bench`; `IDLE_CONNECTIONS=5000` changes the number. Loopback only; it ends by itself.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "idle/client.rs"]
mod client;
#[path = "idle/server.rs"]
mod server;

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// The figure: below the cap of 20,000 open files that some machines have.
const CONNECTIONS_DEFAULT: usize = 15_000;

/// What performance.md allows for this stage, in KiB.
const TARGET_KIB: f64 = 8.0;

/// Handshakes at once.
const CONCURRENT: usize = 200;

/// One ping interval, so that every timer has fired and every buffer was used once.
const IDLE: Duration = Duration::from_secs(27);

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let wanted = server::setting("IDLE_CONNECTIONS");
    let connections = wanted.map_or(Ok(CONNECTIONS_DEFAULT), |text| text.parse())?;
    let server = server::Server::start().await?;
    let before = server.resident_kib()?;
    println!("server with no connection: {before} KiB resident");

    let started = Instant::now();
    let mut idle = JoinSet::new();
    let mut opening = JoinSet::new();
    for number in 0..connections {
        if opening.len() == CONCURRENT {
            join(&mut opening, &mut idle).await?;
        }
        let (address, token) = (server.address, server::token(number)?);
        opening.spawn(async move { client::Client::open(address, &token, number / 100).await });
    }
    while !opening.is_empty() {
        join(&mut opening, &mut idle).await?;
    }
    let took = started.elapsed().as_secs_f64();
    println!("{connections} connections in {took:.1} s ({:.0}/s)", connections as f64 / took);

    tokio::time::sleep(IDLE).await;
    ensure!(idle.try_join_next().is_none(), "a connection was lost while idle");
    let during = server.resident_kib()?;
    let each = (during as f64 - before as f64) / connections as f64;
    idle.shutdown().await;
    server.until_empty().await?;
    let after = server.resident_kib()?;
    let verdict = if each <= TARGET_KIB { "met" } else { "MISSED" };
    println!("with all of them idle:     {during} KiB resident");
    println!("after all have left:       {after} KiB resident");
    println!();
    println!("| figure | value | target | verdict |");
    println!("|---|---|---|---|");
    println!("| RSS per idle connection | {each:.2} KiB | {TARGET_KIB:.0} KiB | {verdict} |");
    ensure!(each <= TARGET_KIB, "an idle connection costs {each:.2} KiB");
    Ok(())
}

async fn join(
    opening: &mut JoinSet<anyhow::Result<client::Client>>,
    idle: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let opened = opening.join_next().await.context("nothing is being opened")?;
    idle.spawn(opened??.stay());
    Ok(())
}
