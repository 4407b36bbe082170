//! One topic on one shard: who receives it, and who does not receive everything yet.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::hold::Held;
use super::{Topic, TopicId};

/// The topics of a shard.
/// On the heap, for the table has up to twice as many places as there are topics.
pub(super) type Outlets = HashMap<TopicId, Box<Outlet>, FixedState>;

pub(super) struct Outlet {
    pub(super) topic: Arc<dyn Topic>,
    pub(super) members: Vec<u32>,
    /// Members that do not get everything yet.
    pub(super) held: Vec<Held>,
    /// The highest offset that went out.
    pub(super) last: u64,
}

impl Outlet {
    pub(super) fn new(topic: Arc<dyn Topic>) -> Box<Self> {
        Box::new(Self { topic, members: Vec::new(), held: Vec::new(), last: 0 })
    }
}
