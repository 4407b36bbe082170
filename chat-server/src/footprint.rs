//! What a connection is made of, in bytes: counts, so that they hold on any machine.
//!
//! Everything in here exists once for each connection, or once for each channel, and there are many
//! of both. A test that fails names the figure; a bound is raised with a reason, or not at all.

use std::fmt::Write;

use crate::channel::{Channel, Subscription};
use crate::connection::life;
use crate::fanout::bus::Listening;
use crate::protocol::ClientInfo;
use crate::session::registry::Handle;
use crate::session::{Session, Sub};

/// One part, what it takes, and the most that it may.
struct Part {
    name: &'static str,
    bytes: usize,
    most: usize,
}

/// What is in the task of each connection. With the 112 bytes of the runtime it is 640, and each
/// further one makes it 768: tasks are rounded up to a multiple of 128.
const TASK: usize = 512;

/// The size of what a function gives back.
fn future<A, B, C, F>(_: fn(A, B, C) -> F) -> usize {
    size_of::<F>()
}

#[test]
fn a_connection_and_a_channel_take_no_more_than_they_did() {
    let part = |name, bytes, most| Part { name, bytes, most };
    let parts = [
        part("the future of a session", future(life), TASK),
        part("a session", size_of::<Session>(), 344),
        part("a mailbox", size_of::<Handle>(), 56),
        part("one channel of a session", size_of::<Sub>(), 64),
        part("a place in a channel", size_of::<Subscription>(), 24),
        part("who a client is", size_of::<ClientInfo>(), 96),
        part("a topic of the bus that is listened to", size_of::<Listening>(), 32),
        part("a channel", size_of::<Channel>(), 368),
    ];
    let mut report = String::new();
    for Part { name, bytes, most } in &parts {
        writeln!(report, "{name}: {bytes} bytes, at most {most}").expect("a string takes all");
    }
    assert!(parts.iter().all(|part| part.bytes <= part.most), "\n{report}");
}
