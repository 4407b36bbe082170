//! The fan-out of a shard: one write for each member, and what becomes of those who cannot take it.
//!
//! No lock is held and no socket is awaited. A frame counts as handed over when a socket has taken
//! all of it: at once, or when the backlog it waits in has gone.

use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::backlog::{Gap, Offer};
use super::hold::{Bounds, Held};
use super::shard::Shard;
use super::slot::State;
use super::{Delivered, Frame, TopicId};

/// Writes between two yields: about 1 ms, so that readers are not starved by a large topic.
const WRITES_PER_TURN: usize = 256;

impl Shard {
    pub(super) async fn fan_out(&mut self, topic: TopicId) {
        self.reply();
        let Some(gathered) = self.gathered.remove(&topic) else {
            return;
        };
        let Some(outlet) = self.topics.get_mut(&topic) else {
            return;
        };
        let members = std::mem::take(&mut outlet.members);
        let frames = gathered.frames;
        let bytes = match frames.as_slice() {
            [only] => only.bytes.clone(),
            all => concatenate(all.iter().map(|frame| &frame.bytes)),
        };
        let mut missed = vec![0; frames.len()];
        for (turn, chunk) in members.chunks(WRITES_PER_TURN).enumerate() {
            if turn > 0 {
                tokio::task::yield_now().await;
            }
            for &index in chunk {
                self.write(index, topic, &frames, &bytes, &mut missed);
            }
        }
        let due = members.len() as u64;
        for (frame, missed) in frames.iter().zip(missed) {
            let accepted = frame.accepted;
            self.observer.delivered(Delivered { due, handed: due - missed, accepted });
        }
        let last = Gap::of(topic, &frames).to;
        if let Some(outlet) = self.topics.get_mut(&topic) {
            outlet.members = members;
            outlet.last = outlet.last.max(last);
        }
        self.fan_out_held(topic, &frames);
    }

    /// Members on hold keep the frames; released ones get those behind their position, and are
    /// ordinary members once the topic has passed it.
    fn fan_out_held(&mut self, topic: TopicId, frames: &[Frame]) {
        let Some(outlet) = self.topics.get_mut(&topic) else { return };
        if outlet.held.is_empty() {
            return;
        }
        let (last, mut held) = (outlet.last, std::mem::take(&mut outlet.held));
        held.retain_mut(|held| match held.after {
            None => {
                self.keep(held, topic, frames);
                true
            }
            Some(after) => {
                self.hand_over(held.index, topic, after, frames);
                if last > after {
                    self.promote(held.index, topic);
                }
                last <= after
            }
        });
        if let Some(outlet) = self.topics.get_mut(&topic) {
            outlet.held = held;
        }
    }

    fn keep(&mut self, held: &mut Held, topic: TopicId, frames: &[Frame]) {
        let slot = self.slots[held.index as usize].as_ref();
        let Some(slot) = slot.filter(|slot| slot.state == State::Open) else { return };
        let bounds = Bounds {
            bytes_max: self.config.backlog_bytes_max,
            markers: slot.peer.markers.load(Ordering::Relaxed),
            observer: &*self.observer,
        };
        if held.keep(topic, frames, &bounds).is_err() {
            held.clear();
            self.cut(held.index);
        }
    }

    /// Writes the frames that are not known at `after`: those behind it and those without offset.
    pub(super) fn hand_over(&mut self, index: u32, topic: TopicId, after: u64, frames: &[Frame]) {
        for frame in frames.iter().filter(|frame| frame.offset == 0 || frame.offset > after) {
            let (one, mut missed) = (std::slice::from_ref(frame), [0]);
            self.write(index, topic, one, &frame.bytes, &mut missed);
            let handed = 1 - missed[0];
            self.observer.delivered(Delivered { due: 1, handed, accepted: None });
        }
    }

    fn write(
        &mut self,
        index: u32,
        topic: TopicId,
        frames: &[Frame],
        bytes: &Bytes,
        missed: &mut [u64],
    ) {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        if slot.state != State::Open {
            return missed.iter_mut().for_each(|count| *count += 1);
        }
        if slot.backlog.is_none() {
            match slot.peer.wire.try_write(bytes) {
                Ok(sent) if sent == bytes.len() && slot.peer.wire.is_flushed() => return,
                Ok(0) => {}
                Ok(sent) => {
                    let backlog = slot.block(&mut self.blocked, index);
                    if sent < bytes.len() {
                        backlog.push_remainder(bytes.clone(), sent, topic, frames, &self.budget);
                        missed.iter_mut().for_each(|count| *count += 1);
                    }
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_gone) => {
                    // The session reads the end of it and leaves.
                    slot.state = State::Dead;
                    return missed.iter_mut().for_each(|count| *count += 1);
                }
            }
        }
        self.queue(index, topic, frames, missed);
    }

    /// The slow path: frame by frame into the backlog.
    fn queue(&mut self, index: u32, topic: TopicId, frames: &[Frame], missed: &mut [u64]) {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        let markers = slot.peer.markers.load(Ordering::Relaxed);
        let backlog = slot.block(&mut self.blocked, index);
        missed.iter_mut().for_each(|count| *count += 1);
        for frame in frames {
            match backlog.offer(topic, frame, self.config.backlog_bytes_max, markers, &self.budget)
            {
                // Counted when the socket has taken it.
                Offer::Queued | Offer::Missed => {}
                Offer::Shed(shed) => self.observer.shed(shed),
                Offer::Overflow => return self.cut(index),
            }
        }
    }
}

pub(super) fn concatenate<'a>(parts: impl Iterator<Item = &'a Bytes> + Clone) -> Bytes {
    let mut all = Vec::with_capacity(parts.clone().map(Bytes::len).sum());
    parts.for_each(|part| all.extend_from_slice(part));
    all.into()
}
