//! Who is in which channel, on all nodes.
//!
//! ```text
//! Subscription -> Channel: list of this node, told here -> Moves: marks -> flush -> Table (Redis)
//!                                                                            `-> bus -> others
//! a node that died -> its lease runs out -> reap: its entries are removed, their leaves are told
//! ```
//! Every node writes its own clients and nobody else's, under its incarnation. Redis has the list
//! of all nodes; each node keeps its own part in memory as well, so what Redis forgot is written
//! again, and while Redis is away a node answers with what it knows itself.
//!
//! One task for each node does everything here, as four futures: `flush` writes what has changed,
//! `reap` removes what dead nodes left behind, `crowd` tells the numbers of channels that are too
//! large to tell each move, and those whose connection broke are let go when their time is over.

mod crowd;
mod flush;
mod reap;
mod table;

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::table::Table;
use super::Nodes;
use crate::channel::{ChannelName, Hub};
use crate::fanout::bus::Bus;
use crate::protocol::{ClientInfo, PresenceStatsResult};

/// How long an answer waits until the others know of everything that happened here before: who
/// subscribes and asks finds itself. It takes a few milliseconds.
const SETTLE_TIMEOUT: Duration = Duration::from_millis(500);

/// Channels that are asked about or written at a time.
const AT_ONCE: usize = 16;

/// Presence on all nodes; one for the process.
#[derive(Debug)]
pub struct Presence {
    hub: Arc<Hub>,
    bus: Bus,
    /// `None` for a node alone.
    table: Option<Table>,
    /// What is in the table may have been lost.
    again: Notify,
}

impl Presence {
    /// Presence in the channels of `hub`, and of those of the other nodes.
    #[must_use]
    pub fn new(hub: Arc<Hub>, bus: Bus, nodes: Option<Arc<Nodes>>) -> Arc<Self> {
        Arc::new(Self { hub, bus, table: nodes.map(Table::new), again: Notify::new() })
    }

    /// A server that was away is back, perhaps without what it had: everyone is written again.
    pub fn write_again(&self) {
        self.again.notify_one();
    }

    /// Keeps everything until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let moves = self.hub.moves().clone();
        let table = self.table.as_ref();
        let flush = OptionFuture::from(table.map(|table| self.flush(table)));
        let reap = OptionFuture::from(table.map(|table| self.reap(table)));
        let everything = async {
            tokio::join!(flush, reap, self.tell_crowds(), moves.release());
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = everything => {}
        }
    }

    /// Everyone in a channel.
    ///
    /// # Errors
    /// How many there are, when that is over `most`.
    pub async fn list(&self, name: &ChannelName, most: usize) -> Result<Vec<ClientInfo>, usize> {
        if let Some(table) = self.asked().await {
            match table.list(name.shared(), most).await {
                Ok(list) => return list,
                Err(error) => tracing::debug!(%error, "presence is that of this node"),
            }
        }
        let Some(channel) = self.hub.find(name) else { return Ok(Vec::new()) };
        let here = channel.presence(most)?;
        Ok(here.iter().map(|info| ClientInfo::clone(info)).collect())
    }

    /// How many clients and users there are in a channel.
    pub async fn count(&self, name: &ChannelName) -> PresenceStatsResult {
        if let Some(table) = self.asked().await {
            match table.count(name.shared()).await {
                Ok(numbers) => return numbers,
                Err(error) => tracing::debug!(%error, "presence is that of this node"),
            }
        }
        let channel = self.hub.find(name);
        channel.map_or_else(PresenceStatsResult::default, |channel| channel.presence_stats())
    }

    /// The table, if it knows what this node knows.
    async fn asked(&self) -> Option<&Table> {
        let table = self.table.as_ref().filter(|table| table.nodes().has_lease())?;
        self.hub.moves().are_settled(SETTLE_TIMEOUT).await.then_some(table)
    }
}
