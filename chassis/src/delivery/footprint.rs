//! What delivery keeps for each connection, and for each topic that one is in, in bytes: counts, so
//! that they hold on any machine.

use std::fmt::Write;

use super::hold::Held;
use super::inbox::Item;
use super::outlet::Outlet;
use super::peer::{Member, Peer};
use super::slot::{Place, Slot};
use super::wire::TcpWire;

#[test]
fn a_connection_and_a_topic_take_no_more_than_they_did() {
    let parts = [
        ("what session and shard share", size_of::<Peer>(), 136),
        ("a plain connection in it", size_of::<TcpWire>(), 96),
        ("the slot of a connection", size_of::<Slot>(), 48),
        ("a slot that may be free", size_of::<Option<Slot>>(), 48),
        ("a place among the members of a topic", size_of::<Place>(), 16),
        ("the session's half", size_of::<Member>(), 24),
        ("a topic", size_of::<Outlet>(), 72),
        ("a member on hold", size_of::<Held>(), 96),
        ("what a shard is asked to do", size_of::<Item>(), 72),
    ];
    let mut report = String::new();
    for (name, bytes, most) in &parts {
        writeln!(report, "{name}: {bytes} bytes, at most {most}").expect("a string takes all");
    }
    assert!(parts.iter().all(|(_, bytes, most)| bytes <= most), "\n{report}");
}
