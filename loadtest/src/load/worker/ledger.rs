//! What a worker counts: each message at each client, against what should have come.

use std::ops::Range;

use super::client::Member;
use super::speaker::Speaker;
use crate::load::dialect::Sighting;
use crate::load::tally::{News, Tally};
use crate::load::thread::Turn;
use crate::load::times::Times;

/// The counts.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Of the whole run.
    pub(super) tally: Tally,
    /// Delays since the last sample.
    pub(super) latency: Times,
    /// The measuring window.
    pub(super) window: Range<u64>,
    /// Connections in their rooms.
    pub(super) present: u64,
}

impl Ledger {
    /// A message came to a client at a time.
    pub(super) fn hear(&mut self, member: &mut Member, sighting: &Sighting, now: u64) {
        let Sighting { stamp, offset } = *sighting;
        let received = &mut self.tally.received;
        let turn = member.thread.hear(stamp.number);
        if received.count(turn) == News::No {
            return;
        }
        if offset != 0 && turn != Turn::Late {
            // Where nothing jumped, offsets follow each other; where something did, as far.
            let jumped = if let Turn::Ahead(jumped) = turn { u64::from(jumped) } else { 0 };
            received.misplaced += u64::from(offset != member.offset + 1 + jumped);
            member.offset = offset;
        }
        if stamp.due < member.entered {
            received.recovered += 1;
            return;
        }
        let delay = now.saturating_sub(stamp.due);
        self.latency.record(delay);
        if self.window.contains(&stamp.due) {
            self.tally.latency.record(delay);
        }
        if self.window.contains(&now) {
            self.tally.window.delivered += 1;
        }
    }

    /// Something was read.
    pub(super) fn read(&mut self, bytes: usize, now: u64) {
        if self.window.contains(&now) {
            self.tally.window.bytes += bytes as u64;
            self.tally.window.reads += 1;
        }
    }

    /// A message that was due was written, for so many to hear.
    pub(super) fn sent(&mut self, due: u64, members: usize, now: u64) {
        self.tally.published.sent += 1;
        self.tally.received.expected += members as u64;
        if self.window.contains(&due) {
            self.tally.lateness.record(now.saturating_sub(due));
        }
        if self.window.contains(&now) {
            self.tally.window.sent += 1;
        }
    }

    /// Messages of a room here were answered, the oldest first: so many taken, so many refused.
    pub(super) fn answered(
        &mut self,
        speaker: &mut Speaker,
        room: usize,
        answers: (u32, u32),
        now: u64,
    ) {
        let (accepted, refused) = answers;
        self.tally.published.accepted += u64::from(accepted);
        self.tally.published.refused += u64::from(refused);
        for _ in 0..accepted + refused {
            let Some(due) = speaker.acknowledged(room) else { return };
            if self.window.contains(&due) {
                self.tally.acknowledged.record(now.saturating_sub(due));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::dialect::veza::{Kind, Settings, Veza};
    use crate::load::dialect::{Dialect as _, Heard, Seat, Stamp};

    /// What a client of our server that hears messages with these numbers and offsets counts, in
    /// a window from 100 to 200; each is due at ten times its number and heard at 150.
    fn hear(messages: &[(u32, u64)]) -> Tally {
        let settings = Settings { secret: "secret".repeat(6), kind: Kind::Plain, run: 1 };
        let (dialect, seat) =
            (Veza::new(&settings), Seat { number: 0, room: 0, user: 0, channel: "c" });
        let mut ledger = Ledger { window: 100..200, ..Ledger::default() };
        let mut member = Member { offset: 5, entered: 15, ..Member::default() };
        for (number, offset) in messages {
            let (mut frame, mut heard) = (Vec::new(), Heard::default());
            let stamp = Stamp { due: u64::from(*number) * 10, number: *number };
            dialect.publish(&seat, stamp, 100, &mut frame);
            let text = str::from_utf8(&frame[8..]).unwrap();
            let (_, data) = text.split_once("\"data\":").unwrap();
            let data = data.strip_suffix("}}").unwrap();
            let push = format!(
                r#"{{"push":{{"channel":"c","pub":{{"data":{data},"offset":{offset}}}}}}}"#
            );
            dialect.hear(push.as_bytes(), &mut heard);
            assert_eq!(heard.sightings.len(), 1, "{push}");
            ledger.hear(&mut member, &heard.sightings[0], 150);
        }
        ledger.tally
    }

    #[test]
    fn a_lost_a_doubled_and_a_swapped_message_are_each_counted() {
        let good = hear(&[(1, 6), (2, 7), (3, 8)]).received;
        assert_eq!((good.delivered, good.doubled, good.swapped, good.skipped), (3, 0, 0, 0));
        assert_eq!((good.misplaced, good.recovered), (0, 1), "1 was due before the client came");
        let lost = hear(&[(1, 6), (3, 8)]).received;
        assert_eq!((lost.delivered, lost.skipped, lost.misplaced), (2, 1, 0));
        let doubled = hear(&[(1, 6), (2, 7), (2, 7), (3, 8)]).received;
        assert_eq!((doubled.delivered, doubled.doubled, doubled.misplaced), (3, 1, 0));
        let swapped = hear(&[(1, 6), (3, 8), (2, 7), (4, 9)]).received;
        assert_eq!((swapped.delivered, swapped.swapped, swapped.skipped), (4, 1, 0));
        assert_eq!(swapped.misplaced, 0);
        let misplaced = hear(&[(1, 6), (2, 9), (3, 10)]).received;
        assert_eq!((misplaced.delivered, misplaced.misplaced), (3, 1));
    }

    #[test]
    fn latency_is_of_messages_that_were_due_in_the_window() {
        let tally = hear(&[(9, 14), (10, 15), (12, 17)]);
        assert_eq!((tally.latency.count(), tally.window.delivered), (2, 3));
        assert_eq!(tally.latency.max().as_nanos(), 50);
    }
}
