//! What a message costs in counts instead of time: the same on a busy machine as on a quiet one.
//!
//! Starts the release server under callgrind, publishes into channels of two sizes and takes what
//! was executed in between; what the larger channel costs more, divided by its additional
//! receivers, is the cost of a delivery, and the rest is the cost of a publication. Counted are
//! instructions outside of the kernel, allocations and calls of `send`. A second server, not under
//! callgrind, says what the allocator holds for an idle connection. `bounds.toml` has what was
//! measured when it was written and how much more is let through; beyond it the run fails.
//! `make gate` runs it. Time, the kernel and clients are not in it: see docs/PERFORMANCE.md.

#![expect(clippy::print_stdout, reason = "the report is what it is for")]

#[path = "counts/bounds.rs"]
mod bounds;
#[path = "wire/frame.rs"]
mod frame;
#[path = "counts/member.rs"]
mod member;
#[path = "counts/profile.rs"]
mod profile;
#[path = "counts/server.rs"]
mod server;

use std::path::PathBuf;

use anyhow::{Context, ensure};

use bounds::{Bounds, Figures};
use member::Room;
use profile::Profile;
use server::Server;

/// Receivers of the two channels that are compared.
const SMALL: usize = 10;
const LARGE: usize = 100;

/// Publications before anything is counted: every buffer has grown, every table is filled.
const WARM_UP: usize = 100;

/// Publications that are counted in each channel: what the server does by the clock, some tens of
/// thousands of instructions a second, is below one part in a hundred of them.
const COUNTED: usize = 1000;

/// Publications of one client that come in one write, and how many of such bursts are counted.
const BURST: usize = 16;
const BURSTS: usize = 100;

/// Durable publications that are counted; each is a transaction.
const DURABLE: usize = 200;

/// Idle connections whose memory is counted: so many that what the allocator keeps at hand for its
/// threads, some hundred KiB, does not show.
const IDLE: usize = 5000;

/// What the channels of the measurement allow; the position is part of what is measured.
const CHANNELS: &str = "[namespaces.count]\nallow_subscribe = true\nallow_publish = true\n\
                        history_size = 100\nhistory_ttl = \"5m\"\n";

fn main() -> anyhow::Result<()> {
    // Cargo adds words of its own, such as `--bench`.
    let binary = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let binary = PathBuf::from(binary.context("usage: counts <release build of chat-server>")?);
    let mut figures = Figures::new();
    executed(&binary, &mut figures).context("under callgrind")?;
    held(&binary, &mut figures).context("idle connections")?;
    let verdict = Bounds::read()?.judge(&figures)?;
    println!("{}", verdict.table);
    ensure!(verdict.failed == 0, "{} of the counts are over their bounds", verdict.failed);
    Ok(())
}

/// Instructions, allocations and writes.
fn executed(binary: &std::path::Path, figures: &mut Figures) -> anyhow::Result<()> {
    let mut server = Server::under_callgrind(binary)?;
    let mut small = Room::open(&server, "count:small", SMALL)?;
    let mut large = Room::open(&server, "count:large", LARGE)?;
    let mut durable = Room::open(&server, &server.durable_room()?, LARGE)?;
    for room in [&mut small, &mut large, &mut durable] {
        room.publish_each(WARM_UP)?;
    }
    large.publish_bursts(WARM_UP / BURST, BURST)?;

    let mut counted = |room: &mut Room, run: &dyn Fn(&mut Room) -> anyhow::Result<()>| {
        server.forget()?;
        run(room)?;
        server.executed()
    };
    let few = counted(&mut small, &|room| room.publish_each(COUNTED))?;
    let many = counted(&mut large, &|room| room.publish_each(COUNTED))?;
    let bursts = counted(&mut large, &|room| room.publish_bursts(BURSTS, BURST))?;
    let stored = counted(&mut durable, &|room| room.publish_each(DURABLE))?;

    type Count = fn(&Profile) -> f64;
    let counts: [(&str, Count); 3] = [
        ("instructions", Profile::instructions),
        ("allocations", Profile::allocations),
        ("sends", Profile::sends),
    ];
    let (messages, members) = (COUNTED as f64, (LARGE - SMALL) as f64);
    for (name, count) in counts {
        let delivery = (count(&many) - count(&few)) / (members * messages);
        let publication = count(&few) / messages - delivery * SMALL as f64;
        figures.insert(format!("{name}_per_delivery"), delivery);
        figures.insert(format!("{name}_per_publication"), publication);
        let deliveries = (BURSTS * BURST * LARGE) as f64;
        figures.insert(format!("{name}_per_delivery_in_bursts"), count(&bursts) / deliveries);
        let rest = count(&stored) / DURABLE as f64 - delivery * LARGE as f64;
        figures.insert(format!("{name}_per_durable_publication"), rest);
    }
    Ok(())
}

/// What the allocator holds for a connection that is authenticated, subscribed and silent.
fn held(binary: &std::path::Path, figures: &mut Figures) -> anyhow::Result<()> {
    let server = Server::plain(binary)?;
    let mut warm = Room::open(&server, "count:warm", LARGE)?;
    warm.publish_each(WARM_UP)?;
    let before = server.allocated()?;
    let idle = Room::open(&server, "count:idle", IDLE)?;
    let after = server.allocated()?;
    drop(idle);
    figures.insert("bytes_per_connection".to_owned(), (after - before) / IDLE as f64);
    Ok(())
}
