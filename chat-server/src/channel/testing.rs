//! A registry for the unit tests of those who work with channels: development's options, nobody
//! who is told of deliveries, no other nodes.

use std::sync::Arc;

use chassis::delivery::{Config, Delivered, Delivery, Observer, Shed};
use tokio_util::task::TaskTracker;

use super::{Channel, ChannelName, Hub, Namespaces};
use crate::config::Environment;
use crate::fanout::bus::Bus;

/// More than any of these tests keeps, holds or sends.
const BYTES_MAX: usize = 1 << 20;

struct Nobody;

impl Observer for Nobody {
    fn delivered(&self, _: Delivered) {}
    fn caught_up(&self, _: u64) {}
    fn shed(&self, _: Shed) {}
    fn failed(&self) {}
}

/// An empty registry.
pub(crate) fn hub() -> Arc<Hub> {
    let sizes = Config { shards: 1, backlog_bytes_max: BYTES_MAX, budget_bytes: BYTES_MAX };
    let observer: Arc<dyn Observer> = Arc::new(Nobody);
    let delivery = Delivery::start(sizes, &observer, &TaskTracker::new());
    let namespaces = Namespaces::load(None, Environment::Development).expect("there is no file");
    Hub::new(namespaces, delivery, Bus::Local, BYTES_MAX)
}

/// A channel of it.
pub(crate) fn channel(hub: &Hub, name: &str) -> Arc<Channel> {
    let name = ChannelName::parse(name).expect("a good name");
    hub.channel(&name, hub.options(&name).expect("all names are known")).expect("there is room")
}
