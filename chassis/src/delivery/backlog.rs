//! What waits for one slow connection, and who gives way when it is full.
//!
//! Chunks share the bytes of the frames, so a slow room costs each of its slow members a few
//! words a frame. The head may be sent in part and is never dropped; everything else can be
//! collapsed into gaps, one for each topic.

use std::collections::VecDeque;

use bytes::Bytes;

use super::budget::Budget;
use super::{Class, Frame, Shed, TopicId};

/// Chunks gathered into one write.
const WRITE_BYTES_MAX: usize = 32 * 1024;

#[derive(Default)]
pub(super) struct Backlog {
    chunks: VecDeque<Chunk>,
    /// Bytes of the head that were sent.
    sent: usize,
    /// Unsent bytes.
    bytes: usize,
    /// Unsent bytes of replies: its session bounds them, so they take no room from events.
    replies: usize,
    gaps: Vec<Gap>,
}

struct Chunk {
    bytes: Bytes,
    kind: Kind,
    /// Published frames in it: handed over when the last byte has gone.
    frames: u64,
}

/// What became of sent bytes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sent {
    /// Bytes of replies.
    pub(super) replies: usize,
    /// Published frames that are complete now.
    pub(super) frames: u64,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Asked for by the peer: kept whatever happens.
    Reply,
    /// Stands in for what was dropped: kept whatever happens.
    Marker,
    /// Whole frames of one topic and the offsets they cover.
    Event(Gap),
    /// Dropped without a trace when the backlog collapses.
    Ephemeral,
}

/// Offsets of one topic that a peer did not get, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) topic: TopicId,
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What became of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Queued,
    Shed(Shed),
    /// Part of a gap that was open already.
    Missed,
    /// No room, and the peer takes no markers.
    Overflow,
}

impl Chunk {
    fn of(frame: &Frame, kind: Kind) -> Self {
        Self { bytes: frame.bytes.clone(), kind, frames: 1 }
    }
}

impl Gap {
    pub(super) fn of(topic: TopicId, frames: &[Frame]) -> Self {
        let mut offsets = frames.iter().map(|frame| frame.offset).filter(|&offset| offset > 0);
        let from = offsets.next().unwrap_or(0);
        Self { topic, from, to: offsets.next_back().unwrap_or(from) }
    }
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps what a direct write left over; the peer's session may be waiting for it to go.
    pub(super) fn push_reply(&mut self, bytes: Bytes, sent: usize, budget: &Budget) {
        self.replies += bytes.len() - sent;
        self.push(Chunk { bytes, kind: Kind::Reply, frames: 0 }, sent, budget);
    }

    /// The unsent bytes of all replies.
    pub(super) fn replies(&self) -> usize {
        self.replies
    }

    /// Keeps the marker of a gap.
    pub(super) fn push_marker(&mut self, bytes: Bytes, budget: &Budget) {
        self.push(Chunk { bytes, kind: Kind::Marker, frames: 0 }, 0, budget);
    }

    /// Keeps the remainder of a fan-out of which `sent` bytes are already gone.
    pub(super) fn push_remainder(
        &mut self,
        bytes: Bytes,
        sent: usize,
        topic: TopicId,
        frames: &[Frame],
        budget: &Budget,
    ) {
        let kind = Kind::Event(Gap::of(topic, frames));
        self.push(Chunk { bytes, kind, frames: frames.len() as u64 }, sent, budget);
    }

    /// Offers a frame: it is queued, shed, or becomes part of a gap.
    pub(super) fn offer(
        &mut self,
        topic: TopicId,
        frame: &Frame,
        bytes_max: usize,
        markers: bool,
        budget: &Budget,
    ) -> Offer {
        let ephemeral = match frame.class {
            Class::Typing => Some((bytes_max / 4, Shed::Typing)),
            Class::Presence => Some((bytes_max / 2, Shed::Presence)),
            Class::Event => None,
        };
        if let Some((most, shed)) = ephemeral {
            let len = frame.bytes.len();
            if self.bytes > most || !self.gaps.is_empty() || !budget.take_for(frame.class, len) {
                return Offer::Shed(shed);
            }
            self.bytes += len;
            self.chunks.push_back(Chunk::of(frame, Kind::Ephemeral));
            return Offer::Queued;
        }
        let this = Gap::of(topic, std::slice::from_ref(frame));
        if let Some(gap) = self.gaps.iter_mut().find(|gap| gap.topic == topic) {
            gap.to = gap.to.max(this.to);
            return Offer::Missed;
        }
        let len = frame.bytes.len();
        if self.bytes - self.replies + len <= bytes_max && budget.take(len) {
            self.bytes += len;
            self.chunks.push_back(Chunk::of(frame, Kind::Event(this)));
            return Offer::Queued;
        }
        if !markers {
            return Offer::Overflow;
        }
        self.collapse(budget);
        self.miss(this);
        Offer::Shed(Shed::Lag)
    }

    /// Drops every chunk that may be dropped and keeps the gaps they leave.
    fn collapse(&mut self, budget: &Budget) {
        let started = usize::from(self.sent > 0);
        let mut kept = VecDeque::new();
        for (index, chunk) in std::mem::take(&mut self.chunks).into_iter().enumerate() {
            match chunk.kind {
                _ if index < started => kept.push_back(chunk),
                Kind::Reply | Kind::Marker => kept.push_back(chunk),
                Kind::Event(gap) => {
                    self.forget(chunk.bytes.len(), budget);
                    self.miss(gap);
                }
                Kind::Ephemeral => self.forget(chunk.bytes.len(), budget),
            }
        }
        self.chunks = kept;
    }

    fn miss(&mut self, missed: Gap) {
        match self.gaps.iter_mut().find(|gap| gap.topic == missed.topic) {
            Some(gap) => gap.to = gap.to.max(missed.to),
            None => self.gaps.push(missed),
        }
    }

    /// The peer left the topic: what it does not get of it is no gap.
    pub(super) fn leave(&mut self, topic: TopicId) {
        self.gaps.retain(|gap| gap.topic != topic);
        for chunk in &mut self.chunks {
            if matches!(chunk.kind, Kind::Event(gap) if gap.topic == topic) {
                chunk.kind = Kind::Ephemeral;
            }
        }
    }

    /// The gaps, once: their markers go out when everything before them was sent.
    pub(super) fn take_gaps(&mut self) -> Vec<Gap> {
        std::mem::take(&mut self.gaps)
    }

    /// The next bytes to write: the head alone, or several chunks gathered in `scratch`.
    pub(super) fn next<'a>(&'a self, scratch: &'a mut Vec<u8>) -> &'a [u8] {
        let Some(head) = self.chunks.front() else {
            return &[];
        };
        let rest = head.bytes.get(self.sent..).unwrap_or_default();
        if self.chunks.len() == 1 || rest.len() >= WRITE_BYTES_MAX {
            return rest;
        }
        scratch.clear();
        scratch.extend_from_slice(rest);
        for chunk in self.chunks.iter().skip(1) {
            if scratch.len() + chunk.bytes.len() > WRITE_BYTES_MAX {
                break;
            }
            scratch.extend_from_slice(&chunk.bytes);
        }
        scratch
    }

    /// `count` bytes of [`Backlog::next`] were sent.
    pub(super) fn advance(&mut self, mut count: usize, budget: &Budget) -> Sent {
        self.forget(count, budget);
        let mut sent = Sent::default();
        while let Some(head) = self.chunks.front() {
            let rest = head.bytes.len() - self.sent;
            let part = count.min(rest);
            if let Kind::Reply = head.kind {
                sent.replies += part;
            }
            if part < rest {
                self.sent += part;
                break;
            }
            count -= part;
            self.sent = 0;
            sent.frames += head.frames;
            self.chunks.pop_front();
        }
        self.replies -= sent.replies;
        sent
    }

    /// Gives everything back to the budget.
    pub(super) fn clear(&mut self, budget: &Budget) {
        budget.give_back(self.bytes);
        *self = Self::default();
    }

    fn push(&mut self, chunk: Chunk, sent: usize, budget: &Budget) {
        let unsent = chunk.bytes.len() - sent;
        if self.chunks.is_empty() {
            self.sent = sent;
        }
        self.chunks.push_back(chunk);
        self.bytes += unsent;
        budget.force(unsent);
    }

    fn forget(&mut self, bytes: usize, budget: &Budget) {
        self.bytes -= bytes;
        budget.give_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const TOPIC: TopicId = TopicId(7);

    fn budget(limit: usize) -> Arc<Budget> {
        Budget::new(limit)
    }

    fn frame(class: Class, offset: u64, len: usize) -> Frame {
        Frame { bytes: vec![b'x'; len].into(), class, offset, accepted: None }
    }

    #[test]
    fn typing_goes_before_presence_and_presence_before_events() {
        let (mut backlog, budget) = (Backlog::default(), budget(1000));
        let mut offer =
            |class, len| backlog.offer(TOPIC, &frame(class, 1, len), 100, false, &budget);
        assert_eq!(offer(Class::Event, 30), Offer::Queued);
        assert_eq!(offer(Class::Typing, 1), Offer::Shed(Shed::Typing));
        assert_eq!(offer(Class::Presence, 25), Offer::Queued);
        assert_eq!(offer(Class::Presence, 1), Offer::Shed(Shed::Presence));
        assert_eq!(offer(Class::Event, 45), Offer::Queued);
        assert_eq!(offer(Class::Event, 1), Offer::Overflow);
    }

    #[test]
    fn a_gap_covers_what_was_dropped_and_what_comes_before_its_marker() {
        let (mut backlog, budget) = (Backlog::default(), budget(1000));
        for offset in 1..=10 {
            backlog.offer(TOPIC, &frame(Class::Event, offset, 10), 100, true, &budget);
        }
        backlog.advance(5, &budget);
        let full = backlog.offer(TOPIC, &frame(Class::Event, 11, 10), 100, true, &budget);
        assert_eq!(full, Offer::Shed(Shed::Lag));
        let missed = backlog.offer(TOPIC, &frame(Class::Event, 12, 10), 100, true, &budget);
        assert_eq!(missed, Offer::Missed);
        assert_eq!(backlog.bytes(), 5, "the head was sent in part and stays");
        backlog.advance(5, &budget);
        assert!(backlog.is_empty());
        assert_eq!(backlog.take_gaps(), [Gap { topic: TOPIC, from: 2, to: 12 }]);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn replies_survive_a_collapse() {
        let (mut backlog, budget) = (Backlog::default(), budget(1000));
        backlog.offer(TOPIC, &frame(Class::Event, 1, 60), 100, true, &budget);
        backlog.push_reply(Bytes::from_static(b"reply"), 0, &budget);
        backlog.offer(TOPIC, &frame(Class::Event, 2, 60), 100, true, &budget);
        assert_eq!(backlog.next(&mut Vec::new()), b"reply");
        backlog.clear(&budget);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn the_budget_of_all_connections_bites_before_the_backlog_of_one() {
        let (mut backlog, budget) = (Backlog::default(), budget(15));
        let mut offer =
            |offset| backlog.offer(TOPIC, &frame(Class::Event, offset, 10), 100, false, &budget);
        assert_eq!((offer(1), offer(2)), (Offer::Queued, Offer::Overflow));
    }

    #[test]
    fn ephemeral_frames_keep_to_the_budget_too() {
        let (mut backlog, budget) = (Backlog::default(), budget(30));
        let mut offer = |class| backlog.offer(TOPIC, &frame(class, 0, 10), 100, false, &budget);
        assert_eq!(offer(Class::Presence), Offer::Queued);
        assert_eq!(offer(Class::Presence), Offer::Shed(Shed::Presence));
        assert_eq!(offer(Class::Typing), Offer::Shed(Shed::Typing));
        assert_eq!(budget.used(), 10);
    }

    #[test]
    fn a_reply_takes_no_room_from_events() {
        let (mut backlog, budget) = (Backlog::default(), budget(10_000));
        backlog.push_reply(vec![b'r'; 5000].into(), 1000, &budget);
        let mut offer =
            |offset| backlog.offer(TOPIC, &frame(Class::Event, offset, 60), 100, false, &budget);
        assert_eq!((offer(1), offer(2)), (Offer::Queued, Offer::Overflow));
        assert_eq!(backlog.advance(3000, &budget).replies, 3000);
        assert_eq!((backlog.replies(), backlog.bytes()), (1000, 1060));
        assert_eq!(backlog.advance(1060, &budget), Sent { replies: 1000, frames: 1 });
        assert_eq!((backlog.replies(), budget.used()), (0, 0));
    }

    #[test]
    fn a_topic_that_was_left_leaves_no_gap() {
        let (mut backlog, budget) = (Backlog::default(), budget(1000));
        let offer = |backlog: &mut Backlog, offset| {
            backlog.offer(TOPIC, &frame(Class::Event, offset, 40), 100, true, &budget)
        };
        for offset in 1..=3 {
            offer(&mut backlog, offset);
        }
        backlog.leave(TOPIC);
        assert_eq!(backlog.take_gaps(), []);
        offer(&mut backlog, 7);
        offer(&mut backlog, 8);
        backlog.leave(TOPIC);
        for offset in 11..=13 {
            offer(&mut backlog, offset);
        }
        assert_eq!(backlog.take_gaps(), [Gap { topic: TOPIC, from: 11, to: 13 }]);
    }

    #[test]
    fn chunks_are_gathered_into_one_write() {
        let (mut backlog, budget) = (Backlog::default(), budget(1000));
        backlog.push_reply(Bytes::from_static(b"abc"), 1, &budget);
        backlog.push_marker(Bytes::from_static(b"def"), &budget);
        assert_eq!(backlog.next(&mut Vec::new()), b"bcdef");
        assert_eq!(
            backlog.advance(3, &budget).replies,
            2,
            "two bytes of the reply and one of the marker"
        );
        assert_eq!(backlog.next(&mut Vec::new()), b"ef");
    }
}
