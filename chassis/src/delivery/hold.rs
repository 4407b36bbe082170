//! What is kept for a member on hold: between its attachment and the position it is told.
//!
//! The same rules as for a backlog: all of it counts against the room of one connection and that
//! of all together, typing goes first, then presence, and of events nothing is dropped silently:
//! who takes markers gets one in place of everything that was held, and anybody else is cut.

use std::sync::Arc;

use super::backlog::Gap;
use super::budget::Budget;
use super::{Class, Frame, Observer, Shed, TopicId};

/// A member between its attachment and the first frame behind its position.
pub(super) struct Held {
    pub(super) index: u32,
    /// Frames up to this offset are known to the peer; `None` until it was released.
    pub(super) after: Option<u64>,
    frames: Vec<Frame>,
    bytes: usize,
    /// What was not kept; nothing is kept behind it.
    missed: Option<Gap>,
    budget: Arc<Budget>,
}

/// How much may be kept, and what happens to the rest.
pub(super) struct Bounds<'a> {
    pub(super) bytes_max: usize,
    pub(super) markers: bool,
    pub(super) observer: &'a dyn Observer,
}

/// There is no room, and the peer takes no markers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Overflow;

impl Held {
    pub(super) fn new(index: u32, budget: Arc<Budget>) -> Self {
        Self { index, after: None, frames: Vec::new(), bytes: 0, missed: None, budget }
    }

    pub(super) fn keep(
        &mut self,
        topic: TopicId,
        frames: &[Frame],
        bounds: &Bounds<'_>,
    ) -> Result<(), Overflow> {
        for frame in frames {
            let most = match frame.class {
                Class::Typing => bounds.bytes_max / 4,
                Class::Presence => bounds.bytes_max / 2,
                Class::Event => bounds.bytes_max,
            };
            let len = frame.bytes.len();
            let room = self.missed.is_none() && self.bytes + len <= most;
            if room && self.budget.take_for(frame.class, len) {
                self.bytes += len;
                self.frames.push(frame.clone());
                continue;
            }
            match frame.class {
                Class::Typing => bounds.observer.shed(Shed::Typing),
                Class::Presence => bounds.observer.shed(Shed::Presence),
                Class::Event if bounds.markers => {
                    if self.missed.is_none() {
                        bounds.observer.shed(Shed::Lag);
                    }
                    self.miss(topic, frame);
                }
                Class::Event => return Err(Overflow),
            }
        }
        Ok(())
    }

    /// Everything that was held becomes part of one gap, up to this frame.
    fn miss(&mut self, topic: TopicId, frame: &Frame) {
        let mut frames = std::mem::take(&mut self.frames);
        frames.retain(|frame| frame.class == Class::Event);
        frames.push(frame.clone());
        let more = Gap::of(topic, &frames);
        match &mut self.missed {
            Some(gap) => gap.to = gap.to.max(more.to),
            None => self.missed = Some(more),
        }
        self.clear();
    }

    /// What was kept, and what was not; it counts no more.
    pub(super) fn release(&mut self) -> (Vec<Frame>, Option<Gap>) {
        let frames = std::mem::take(&mut self.frames);
        self.clear();
        (frames, self.missed.take())
    }

    /// Forgets what was kept.
    pub(super) fn clear(&mut self) {
        self.frames = Vec::new();
        self.budget.give_back(std::mem::take(&mut self.bytes));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.clear();
    }
}
