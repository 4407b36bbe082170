//! What was counted and timed, in a form that adds up: of a worker, and of all of them.
//!
//! Losses are not counted by anybody: they are what was expected and did not come, and only all
//! workers together know both. The figures of the measuring window are apart from those of the
//! whole run, for order, losses and doubles matter at any time, speed only when all is warm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::thread::Turn;
use super::times::Times;

/// Different texts of complaints that are kept; the rest count as others.
const COMPLAINTS_MAX: usize = 20;

/// Bytes of a complaint that are kept.
const COMPLAINT_BYTES: usize = 200;

/// Everything of a run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// How connections were made and ended.
    pub connections: Connections,
    /// What was published.
    pub published: Published,
    /// What came of it.
    pub received: Received,
    /// What fell into the measuring window.
    pub window: Window,
    /// From when a message was due until it was received, each delivery of the window.
    pub latency: Times,
    /// From when a message was due until it was written to the socket: the generator's own part.
    pub lateness: Times,
    /// From when a message was due until the server acknowledged it.
    pub acknowledged: Times,
    /// From the first packet to the answer 101.
    pub handshake: Times,
    /// From the first packet until the client was in its room.
    pub entry: Times,
    /// From the first packet of a return until the client was back in its room.
    pub comeback: Times,
    /// When the last who was told to go was back, in nanoseconds since the load began; 0 when nobody
    /// was.
    #[serde(default)]
    pub last_return: u64,
    /// What went wrong, and how often.
    pub complaints: BTreeMap<String, u64>,
}

/// How connections were made and ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Connections {
    /// That were to be made.
    pub asked: u64,
    /// That came into their rooms.
    pub entered: u64,
    /// That did not.
    pub failed: u64,
    /// That were there and ended before they were told to.
    pub ended: u64,
    /// That were told to go and came back.
    pub returned: u64,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Published {
    /// Messages that were written to a socket.
    pub sent: u64,
    /// Messages that were due and could not be written, for the server took no more.
    pub unsent: u64,
    /// That the server acknowledged.
    pub accepted: u64,
    /// That it refused.
    pub refused: u64,
}

/// What was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Received {
    /// Deliveries that have to come: for each message sent, one to each member of its room.
    pub expected: u64,
    /// That came, each once.
    pub delivered: u64,
    /// That came once more.
    pub doubled: u64,
    /// That came behind a later one.
    pub swapped: u64,
    /// Numbers that were jumped over and never came.
    pub skipped: u64,
    /// That did not have the offset behind that of the message before.
    pub misplaced: u64,
    /// That were due before the client came back: it had missed them.
    pub recovered: u64,
}

/// What fell into the measuring window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Window {
    /// Messages sent.
    pub sent: u64,
    /// Deliveries received.
    pub delivered: u64,
    /// Bytes read from sockets, under TLS if there is any.
    pub bytes: u64,
    /// Reads that gave something: deliveries per read say how far the server coalesces.
    pub reads: u64,
}

impl Tally {
    /// Adds all of another worker's.
    pub fn add(&mut self, other: &Self) {
        self.connections.add(&other.connections);
        self.published.add(&other.published);
        self.received.add(&other.received);
        self.window.add(&other.window);
        self.latency.add(&other.latency);
        self.lateness.add(&other.lateness);
        self.acknowledged.add(&other.acknowledged);
        self.handshake.add(&other.handshake);
        self.entry.add(&other.entry);
        self.comeback.add(&other.comeback);
        self.last_return = self.last_return.max(other.last_return);
        for (text, count) in &other.complaints {
            self.complaint(text, *count);
        }
    }

    /// Something went wrong, so often.
    pub fn complain(&mut self, text: &str) {
        self.complaint(text, 1);
    }

    fn complaint(&mut self, text: &str, count: u64) {
        let (text, _) = text.split_at(text.floor_char_boundary(COMPLAINT_BYTES));
        let known = self.complaints.contains_key(text);
        let text = if known || self.complaints.len() < COMPLAINTS_MAX { text } else { "others" };
        *self.complaints.entry(text.to_owned()).or_default() += count;
    }

    /// Deliveries that never came.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.received.expected.saturating_sub(self.received.delivered)
    }

    /// What makes a run a bad one, as sentences; empty when nothing does.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let of = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
        let faults = [
            of(self.lost(), "deliveries lost"),
            of(self.received.doubled, "deliveries doubled"),
            of(self.received.swapped, "deliveries out of order"),
            of(self.received.misplaced, "deliveries with a wrong offset"),
            of(self.connections.failed, "connections that did not come in"),
            of(self.connections.ended, "connections ended by the server"),
            of(self.published.refused, "messages refused"),
            of(self.published.unsent, "messages that the server did not take in time"),
        ];
        faults.into_iter().flatten().collect()
    }
}

impl Connections {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { asked, entered, failed, ended, returned } = other;
        self.asked += asked;
        self.entered += entered;
        self.failed += failed;
        self.ended += ended;
        self.returned += returned;
    }
}

impl Published {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { sent, unsent, accepted, refused } = other;
        self.sent += sent;
        self.unsent += unsent;
        self.accepted += accepted;
        self.refused += refused;
    }
}

impl Received {
    /// Counts one delivery and says whether it is news.
    pub fn count(&mut self, turn: Turn) -> News {
        match turn {
            Turn::InOrder => {}
            Turn::Ahead(jumped) => self.skipped += u64::from(jumped),
            Turn::Late => {
                self.skipped -= 1;
                self.swapped += 1;
            }
            Turn::Again | Turn::Ancient => {
                self.doubled += 1;
                return News::No;
            }
        }
        self.delivered += 1;
        News::Yes
    }

    pub(super) fn add(&mut self, other: &Self) {
        let Self { expected, delivered, doubled, swapped, skipped, misplaced, recovered } = other;
        self.expected += expected;
        self.delivered += delivered;
        self.doubled += doubled;
        self.swapped += swapped;
        self.skipped += skipped;
        self.misplaced += misplaced;
        self.recovered += recovered;
    }
}

/// Whether a delivery was one that the client did not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It was.
    Yes,
    /// It had it.
    No,
}

impl Window {
    pub(super) fn add(&mut self, other: &Self) {
        let Self { sent, delivered, bytes, reads } = other;
        self.sent += sent;
        self.delivered += delivered;
        self.bytes += bytes;
        self.reads += reads;
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

    use super::*;
    use crate::load::thread::Thread;

    /// One thing that a worker counts.
    #[derive(Debug, Clone)]
    enum Event {
        Sent,
        Heard(u32, u64),
        Complaint(String),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            Just(Event::Sent),
            (1_u32..20, any::<u32>()).prop_map(|(number, time)| Event::Heard(number, time.into())),
            "[ab]".prop_map(Event::Complaint),
        ]
    }

    /// Counts what happens at one client.
    fn play(tally: &mut Tally, thread: &mut Thread, event: &Event) {
        match event {
            Event::Sent => {
                tally.published.sent += 1;
                tally.received.expected += 2;
                tally.lateness.record(7);
            }
            Event::Heard(number, time) => {
                if tally.received.count(thread.hear(*number)) == News::Yes {
                    tally.latency.record(*time);
                    tally.window.delivered += 1;
                }
            }
            Event::Complaint(text) => tally.complain(text),
        }
    }

    proptest! {
        // A tally is a megabyte of histograms.
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn tallies_of_two_workers_add_up_to_the_tally_of_one(
            events in vec((any::<bool>(), event()), 0..200),
        ) {
            let (mut whole, mut parts) = (Tally::default(), [Tally::default(), Tally::default()]);
            let (mut threads, mut again) = ([Thread::default(); 2], [Thread::default(); 2]);
            for (which, event) in &events {
                let which = usize::from(*which);
                play(&mut whole, &mut threads[which], event);
                play(&mut parts[which], &mut again[which], event);
            }
            let mut sum = Tally::default();
            for part in &parts {
                let sent = serde_json::to_string(part).unwrap();
                sum.add(&serde_json::from_str(&sent).unwrap());
            }
            assert_eq!(sum, whole);
        }
    }

    #[test]
    fn a_lost_a_doubled_and_a_swapped_delivery_are_each_a_fault() {
        let of = |numbers: &[u32]| {
            let (mut tally, mut thread) = (Tally::default(), Thread::default());
            tally.received.expected = 3;
            for number in numbers {
                tally.received.count(thread.hear(*number));
            }
            tally.faults()
        };
        assert_eq!(of(&[1, 2, 3]), [""; 0]);
        assert_eq!(of(&[1, 3]), ["1 deliveries lost"]);
        assert_eq!(of(&[1, 2]), ["1 deliveries lost"], "at the end nothing shows the gap");
        assert_eq!(of(&[1, 2, 2, 3]), ["1 deliveries doubled"]);
        assert_eq!(of(&[1, 3, 2]), ["1 deliveries out of order"]);
    }

    #[test]
    fn complaints_are_bounded_in_number_and_length() {
        let mut tally = Tally::default();
        (0..100).for_each(|number| tally.complain(&format!("{number}{}", "ü".repeat(200))));
        assert!(tally.complaints.len() <= COMPLAINTS_MAX + 1);
        assert_eq!(tally.complaints.values().sum::<u64>(), 100);
        assert!(tally.complaints.keys().all(|text| text.len() <= COMPLAINT_BYTES));
    }
}
