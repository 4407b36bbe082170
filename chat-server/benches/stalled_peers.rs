//! What a client costs that is sent messages and reads none of them: in the server and in the
//! kernel.
//!
//! Starts the release binary as a process of its own and opens connections that stop reading, each
//! in a channel of its own, so that nothing that waits is shared. More is published to each than
//! may wait; all of them were granted gap markers, so none is put out and what they cost stays. The
//! figure is the growth of the server's resident set and of what the kernel keeps for all sockets
//! of this machine, at its highest, for each of them; their own sockets take in next to nothing.
//! Run it with `cargo bench -p chat-server --bench stalled_peers`; `STALLED_PEERS=500` changes the
//! number, `-- --report FILE` writes the figures for programs. Loopback only; it ends by itself.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "stalled/client.rs"]
mod client;
#[path = "wire/frame.rs"]
mod frame;
#[path = "stalled/server.rs"]
mod server;

use anyhow::{Context, ensure};
use client::{Client, Wish};

/// Enough for the figure not to depend on what a server takes once.
const PEERS_DEFAULT: usize = 200;

/// What performance.md allows: 0.4 MiB.
const TARGET_KIB: f64 = 409.6;

/// Who costs less than what may wait in the server was not stalled.
const LEAST_KIB: f64 = 64.0;

/// Bytes of a message.
const MESSAGE_BYTES: usize = 4000;

/// Messages for each: 400 KB, which is three times what may wait in the server and the kernel.
const MESSAGES: usize = 100;

/// The least that the kernel takes for a socket.
const RECEIVE_BYTES: u32 = 1024;

/// A page of memory.
const PAGE_KIB: u64 = 4;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<()> {
    let wanted = server::setting("STALLED_PEERS");
    let count = wanted.map_or(Ok(PEERS_DEFAULT), |text| text.parse())?;
    let server = server::Server::start().await?;
    let mut stalled = Vec::new();
    for number in 0..count {
        let (channel, receive_bytes) = (channel(number), Some(RECEIVE_BYTES));
        let wish = Wish { channel, markers: true, receive_bytes };
        stalled.push(Client::open(server.address, &server::token(number)?, &wish).await?);
    }
    // Whose answers come although all others are behind.
    let wish = Wish { channel: channel(count), ..Wish::default() };
    let mut talker = Client::open(server.address, &server::token(count)?, &wish).await?;

    let (resident, kernel) = (server.resident_kib()?, kernel_kib()?);
    let mut most = (0.0, 0.0);
    for _ in 0..MESSAGES {
        for number in 0..count {
            talker.publish(number, &channel(number), MESSAGE_BYTES).await?;
        }
        let each = |now: u64, before| now.saturating_sub(before) as f64 / count as f64;
        let now = (each(server.resident_kib()?, resident), each(kernel_kib()?, kernel));
        if now.0 + now.1 > most.0 + most.1 {
            most = now;
        }
    }
    drop((stalled, talker));
    server.until_empty().await?;
    let (process, kernel) = most;
    let each = process + kernel;
    let verdict = if each <= TARGET_KIB { "met" } else { "MISSED" };
    println!("{count} clients that read nothing, {MESSAGES} messages to each:");
    println!("the server keeps {process:.1} KiB for each, the kernel {kernel:.1} KiB");
    println!();
    println!("| figure | value | target | verdict |");
    println!("|---|---|---|---|");
    println!("| memory of a stalled client | {each:.1} KiB | {TARGET_KIB:.1} KiB | {verdict} |");
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(file) = arguments.iter().skip_while(|word| *word != "--report").nth(1) {
        let figures = serde_json::json!({
            "stalled_peer_mib": each / 1024.0,
            "of_it_kernel_mib": kernel / 1024.0,
        });
        let report = serde_json::json!({ "bench": "stalled_peers", "figures": figures });
        std::fs::write(file, format!("{report:#}\n")).with_context(|| file.clone())?;
    }
    ensure!(each >= LEAST_KIB, "a stalled client costs {each:.1} KiB: nothing waited for it");
    ensure!(each <= TARGET_KIB, "a stalled client costs {each:.1} KiB");
    Ok(())
}

fn channel(number: usize) -> String {
    format!("loud:{number}")
}

/// What the kernel keeps for all TCP sockets.
fn kernel_kib() -> anyhow::Result<u64> {
    let all = std::fs::read_to_string("/proc/net/sockstat")?;
    let tcp = all.lines().find(|line| line.starts_with("TCP:")).context("TCP")?;
    let pages = tcp.split_whitespace().skip_while(|&word| word != "mem").nth(1);
    Ok(pages.context("pages")?.parse::<u64>()? * PAGE_KIB)
}
