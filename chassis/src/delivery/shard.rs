//! One shard: slots, topics, and the loop that drains, concatenates and writes.
//!
//! The shard is the sole owner of its slots and of topic -> members; no lock is held while it
//! fans out. Members of a topic cannot change during a fan-out: the inbox is applied in between.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use tokio::task::coop::unconstrained;

use super::backlog::Gap;
use super::budget::Budget;
use super::hold::Held;
use super::inbox::{Inbox, Item, Settled};
use super::outlet::{Outlet, Outlets};
use super::peer::Peer;
use super::slot::{ON_HOLD, Place, Slot, State};
use super::{Config, Frame, Observer, Shed, Topic, TopicId};

/// A topic's frames are written once this much is gathered; a larger write would not fit a socket.
const GATHER_BYTES_MAX: usize = 64 * 1024;

/// An item vector that grew beyond this in a storm is given back.
pub(super) const ITEMS_KEPT: usize = 4096;

pub(super) struct Shard {
    pub(super) inbox: Arc<Inbox>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) budget: Arc<Budget>,
    pub(super) config: Config,
    pub(super) slots: Vec<Option<Slot>>,
    pub(super) free: Vec<u32>,
    pub(super) topics: Outlets,
    pub(super) gathered: HashMap<TopicId, Gathered, FixedState>,
    /// Replies of this drain, by slot; what a client may have unread bounds them.
    pub(super) replies: Vec<(u32, Bytes)>,
    /// Slots with a backlog, or with sealed bytes that did not go.
    pub(super) blocked: Vec<u32>,
    pub(super) scratch: Vec<u8>,
}

#[derive(Default)]
pub(super) struct Gathered {
    pub(super) frames: Vec<Frame>,
    pub(super) bytes: usize,
}

impl Shard {
    pub(super) fn new(
        inbox: Arc<Inbox>,
        observer: Arc<dyn Observer>,
        budget: Arc<Budget>,
        config: Config,
    ) -> Self {
        Self {
            inbox,
            observer,
            budget,
            config,
            slots: Vec::new(),
            free: Vec::new(),
            topics: HashMap::default(),
            gathered: HashMap::default(),
            replies: Vec::new(),
            blocked: Vec::new(),
            scratch: Vec::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let (mut items, mut topics) = (Vec::new(), Vec::new());
        loop {
            let inbox = self.inbox.clone();
            let more = poll_fn(|cx| {
                self.poll_blocked(cx);
                inbox.poll_drain(cx, &mut items)
            });
            // Hundreds of blocked sockets may be polled in one turn; each is cheap.
            if !unconstrained(more).await {
                return;
            }
            if items.iter().any(|item| matches!(item, Item::Publish { .. })) {
                // All runnable readers go first: what they publish now is written together.
                tokio::task::yield_now().await;
                inbox.drain(&mut items);
            }
            let frames = items.iter().filter(|item| item.is_frame()).count();
            for item in items.drain(..) {
                self.apply(item).await;
            }
            self.reply();
            topics.extend(self.gathered.keys().copied());
            for topic in topics.drain(..) {
                self.fan_out(topic).await;
            }
            inbox.done(frames);
            if items.capacity() > ITEMS_KEPT {
                items = Vec::new();
            }
        }
    }

    /// What was put in earlier happens earlier: gathered frames of a topic go out before its
    /// members change, and before the last bytes of one of them.
    async fn apply(&mut self, item: Item) {
        match item {
            Item::Publish { topic, frame } => {
                if self.gather(topic, frame) {
                    self.fan_out(topic).await;
                }
            }
            Item::Attach { peer, topic } => {
                self.fan_out(topic.id()).await;
                self.attach(&peer, topic);
            }
            Item::Release { peer, topic, after, settled } => {
                self.fan_out(topic).await;
                self.release(index_of(&peer), topic, after, settled);
            }
            Item::Detach { peer, topic } => {
                self.fan_out(topic).await;
                self.detach(index_of(&peer), topic);
            }
            Item::Finish { peer, bytes } => {
                self.reply();
                for topic in self.topics_of(index_of(&peer)) {
                    self.fan_out(topic).await;
                }
                self.finish(index_of(&peer), bytes);
            }
            Item::Join(peer) => self.join(peer),
            Item::Leave(peer) => {
                self.reply();
                self.leave(&peer);
            }
            Item::Direct { peer, bytes } => self.replies.push((index_of(&peer), bytes)),
        }
    }

    /// The topics of one peer that have gathered frames.
    fn topics_of(&self, index: u32) -> Vec<TopicId> {
        let slot = self.slots[index as usize].as_ref();
        let places = slot.map_or(&[][..], |slot| &slot.places);
        let topics = places.iter().map(|place| place.topic);
        topics.filter(|topic| self.gathered.contains_key(topic)).collect()
    }

    /// True when the topic's frames should be written now.
    fn gather(&mut self, topic: TopicId, frame: Frame) -> bool {
        let gathered = self.gathered.entry(topic).or_default();
        gathered.bytes += frame.bytes.len();
        gathered.frames.push(frame);
        gathered.bytes >= GATHER_BYTES_MAX
    }

    fn release(&mut self, index: u32, topic: TopicId, after: u64, settled: Settled) {
        let Some(outlet) = self.topics.get_mut(&topic) else { return };
        let Some(at) = outlet.held.iter().rposition(|held| held.index == index) else { return };
        let held = &mut outlet.held[at];
        let (frames, missed) = held.release();
        if settled == Settled::Yes {
            outlet.held.swap_remove(at);
            if outlet.held.is_empty() {
                // Most topics have few members, who came long ago.
                outlet.held = Vec::new();
            }
            self.promote(index, topic);
        } else {
            // Frames that are on their way are at or below the position: they are still dropped.
            held.after = Some(after);
        }
        self.hand_over(index, topic, after, &frames);
        if let Some(Gap { from, to, .. }) = missed {
            self.mark(index, Gap { topic, from: from.max(after + 1), to }, after);
        }
    }

    /// Tells a peer what it was not kept on hold for, unless its position covers all of it.
    fn mark(&mut self, index: u32, gap: Gap, after: u64) {
        let Some(outlet) = self.topics.get(&gap.topic) else { return };
        let Some(slot) = self.slots[index as usize].as_mut() else { return };
        let marker = match gap.to {
            // They had no offsets.
            0 => outlet.topic.gap(0, 0),
            to if to > after => outlet.topic.gap(gap.from, to),
            _ => return,
        };
        if slot.state == State::Open {
            slot.block(&mut self.blocked, index).push_marker(marker, &self.budget);
        }
    }

    pub(super) fn promote(&mut self, index: u32, topic: TopicId) {
        let Some(outlet) = self.topics.get_mut(&topic) else { return };
        let Some(slot) = self.slots[index as usize].as_mut() else { return };
        if let Some(place) = slot.places.iter_mut().find(|place| place.topic == topic) {
            place.index = u32::try_from(outlet.members.len()).expect("members are slots");
            outlet.members.push(index);
        }
    }

    /// Gives up on a peer that does not read: the session sees the end and the mark.
    pub(super) fn cut(&mut self, index: u32) {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        if slot.state == State::Dead {
            return;
        }
        slot.state = State::Dead;
        if let Some(backlog) = &mut slot.backlog {
            backlog.clear(&self.budget);
        }
        slot.peer.cut();
        slot.peer.wire.abort();
        self.observer.shed(Shed::Closed);
    }

    fn poll_blocked(&mut self, cx: &mut Context<'_>) {
        let mut blocked = std::mem::take(&mut self.blocked);
        blocked.retain(|&index| {
            let Some(slot) = self.slots[index as usize].as_mut() else {
                return false;
            };
            let (budget, topics) = (&self.budget, &self.topics);
            let done = slot.state == State::Dead
                || match slot.poll_send(cx, &mut self.scratch, topics, budget, &*self.observer) {
                    Poll::Pending => false,
                    Poll::Ready(Ok(())) => true,
                    Poll::Ready(Err(_gone)) => {
                        slot.state = State::Dead;
                        slot.peer.lose();
                        true
                    }
                };
            if done {
                if let Some(mut backlog) = slot.backlog.take() {
                    slot.peer.taken(backlog.replies());
                    backlog.clear(budget);
                }
                if slot.state == State::Ending {
                    slot.peer.wire.end();
                }
            }
            !done
        });
        self.blocked = blocked;
    }

    fn join(&mut self, peer: Arc<Peer>) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("fewer than four billion connections")
        });
        peer.slot.store(index, Ordering::Relaxed);
        let slot = Slot { peer, places: Vec::new(), backlog: None, state: State::Open };
        self.slots[index as usize] = Some(slot);
    }

    fn leave(&mut self, peer: &Peer) {
        let index = index_of(peer);
        while let Some(topic) = self.slots[index as usize]
            .as_ref()
            .and_then(|slot| slot.places.last())
            .map(|place| place.topic)
        {
            self.detach(index, topic);
        }
        if let Some(mut slot) = self.slots[index as usize].take() {
            if let Some(backlog) = &mut slot.backlog {
                backlog.clear(&self.budget);
                self.blocked.retain(|&blocked| blocked != index);
            }
            self.free.push(index);
        }
    }

    fn attach(&mut self, peer: &Peer, topic: Arc<dyn Topic>) {
        let (index, id) = (index_of(peer), topic.id());
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        if slot.places.iter().any(|place| place.topic == id) {
            return;
        }
        let outlet = self.topics.entry(id).or_insert_with(|| Outlet::new(topic));
        slot.places.reserve_exact(1);
        slot.places.push(Place { topic: id, index: ON_HOLD });
        outlet.held.push(Held::new(index, self.budget.clone()));
    }

    fn detach(&mut self, index: u32, topic: TopicId) {
        let Some(slot) = self.slots[index as usize].as_mut() else {
            return;
        };
        let Some(at) = slot.places.iter().position(|place| place.topic == topic) else {
            return;
        };
        let place = slot.places.swap_remove(at);
        if let Some(backlog) = &mut slot.backlog {
            backlog.leave(topic);
        }
        let Some(outlet) = self.topics.get_mut(&topic) else {
            return;
        };
        if place.index == ON_HOLD {
            outlet.held.retain(|held| held.index != index);
        } else {
            outlet.members.swap_remove(place.index as usize);
        }
        if let Some(&moved) = outlet.members.get(place.index as usize)
            && let Some(moved) = self.slots[moved as usize].as_mut()
            && let Some(other) = moved.places.iter_mut().find(|other| other.topic == topic)
        {
            other.index = place.index;
        }
        if outlet.members.is_empty() && outlet.held.is_empty() {
            self.topics.remove(&topic);
        }
    }
}

fn index_of(peer: &Peer) -> u32 {
    peer.slot.load(Ordering::Relaxed)
}
