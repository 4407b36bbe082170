//! One topic on one shard: who receives it, and who does not receive everything yet.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::{Frame, Topic, TopicId};

/// The topics of a shard.
pub(super) type Outlets = HashMap<TopicId, Outlet, FixedState>;

pub(super) struct Outlet {
    pub(super) topic: Arc<dyn Topic>,
    pub(super) members: Vec<u32>,
    /// Members that do not get everything yet.
    pub(super) held: Vec<Held>,
    /// The highest offset that went out.
    pub(super) last: u64,
}

/// A member between its attachment and the first frame behind its position.
pub(super) struct Held {
    pub(super) index: u32,
    /// Frames up to this offset are known to the peer; `None` until it was released.
    pub(super) after: Option<u64>,
    pub(super) frames: Vec<Frame>,
    pub(super) bytes: usize,
}

impl Outlet {
    pub(super) fn new(topic: Arc<dyn Topic>) -> Self {
        Self { topic, members: Vec::new(), held: Vec::new(), last: 0 }
    }
}

impl Held {
    pub(super) fn keep(&mut self, frames: &[Frame]) {
        self.bytes += frames.iter().map(|frame| frame.bytes.len()).sum::<usize>();
        self.frames.extend_from_slice(frames);
    }
}
