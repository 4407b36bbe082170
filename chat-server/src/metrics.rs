//! What the server counts.
//!
//! The doc comments are the help texts of a scrape. Every series exists from the start: labels are
//! enumerations. Names that the production guide fixes are kept to the letter, `active_users_total`
//! included, which is a gauge in spite of its name.
//!
//! Two figures are derived: the share of deliveries that reached a socket and the count of users.
//! [`Metrics::refresh`] brings the first up to date; whoever knows the users calls
//! [`Metrics::set_active_users`].

mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::telemetry::Buckets;
use chassis::telemetry::metric::{Family, Label};
use chassis::{metric_label, metric_set};
use metrics::{Counter, Gauge, Histogram};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use window::SuccessWindow;

use crate::fanout::bus;
use crate::store::{Meters, Query};

/// How often derived figures are brought up to date; twice per usual scrape interval.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);

/// Bounds of this server's histograms.
pub const BUCKETS: &[Buckets] = &[
    chassis::pressure::BUCKETS,
    Buckets { metric: "chat_message_delivery_seconds", bounds: SECONDS },
    Buckets { metric: "chat_commit_seconds", bounds: SECONDS },
    // Up to the most there can be in one transaction.
    Buckets {
        metric: "chat_commit_batch_size",
        bounds: &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0],
    },
];

/// The promise is 10 ms at the 99th percentile: most bounds lie around it.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0,
];

metric_label! {
    /// How a client is connected.
    pub enum Transport: "transport" {
        /// WebSocket.
        Websocket = "websocket",
        /// Server-sent events.
        Sse = "sse",
        /// A streamed HTTP response.
        HttpStream = "http_stream",
    }
}

metric_label! {
    /// What was not sent to a slow client.
    pub enum Shed: "kind" {
        /// Typing notices, the first to go.
        Typing = "typing",
        /// Presence, the second.
        Presence = "presence",
        /// A backlog replaced by a `lag` marker.
        Lag = "lag",
        /// A backlog dropped with its connection, 3008.
        Closed = "closed",
    }
}

metric_label! {
    /// Why a connection was not opened.
    pub enum Refused: "reason" {
        /// Memory is short.
        Memory = "memory",
        /// Every connection is taken.
        Connections = "connections",
        /// The server is going away.
        Draining = "draining",
        /// Too many requests of one client.
        Rate = "rate",
        /// A web page that may not call.
        Origin = "origin",
    }
}

metric_label! {
    /// What a client asked for.
    pub enum Method: "method" {
        /// Authenticate.
        Connect = "connect",
        /// Subscribe to a channel.
        Subscribe = "subscribe",
        /// Leave a channel.
        Unsubscribe = "unsubscribe",
        /// Publish into a channel.
        Publish = "publish",
        /// Who is in a channel.
        Presence = "presence",
        /// How many are in a channel.
        PresenceStats = "presence_stats",
        /// Earlier publications.
        History = "history",
        /// Are you there.
        Ping = "ping",
        /// A message without a reply.
        Send = "send",
        /// A call.
        Rpc = "rpc",
        /// A new connection token.
        Refresh = "refresh",
        /// A new subscription token.
        SubRefresh = "sub_refresh",
    }
}

metric_label! {
    /// Which way a message between nodes went.
    pub enum Direction: "direction" {
        /// To other nodes.
        Sent = "sent",
        /// From another node.
        Received = "received",
    }
}

metric_set! {
    /// The metrics of one server, to be registered once per server.
    #[derive(Debug)]
    pub struct Series {
        /// WebSocket connections that are open.
        websocket_connections_active: Gauge = "websocket_connections_active",
        /// Connections that are open, by transport.
        connections: Family<Transport, Gauge> = "chat_connections_active",
        /// Distinct users who are connected.
        active_users: Gauge = "active_users",
        /// The same as active_users, under the name the production guide gives it.
        active_users_total: Gauge = "active_users_total",
        /// Whether the database of rooms can be used, 1 or 0.
        store_up: Gauge = "store_up",
        /// Publications accepted.
        messages: Counter = "chat_messages_total",
        /// Commands received, by method.
        commands: Family<Method, Counter> = "chat_commands_total",
        /// From a publication's acceptance to its last hand-over to a socket, in seconds.
        delivery_seconds: Histogram = "chat_message_delivery_seconds",
        /// Publications due to a connection, one for each.
        deliveries_due: Counter = "chat_deliveries_due_total",
        /// Publications handed to a connection's socket.
        deliveries_done: Counter = "chat_deliveries_total",
        /// The part of the deliveries due in the last five minutes that reached a socket, 0 to 1.
        delivery_success_rate: Gauge = "message_delivery_success_rate",
        /// What was not sent to slow clients, by kind.
        shed: Family<Shed, Counter> = "chat_outbound_shed_total",
        /// What the database was asked, by purpose.
        store_queries: Family<Query, Counter> = "store_queries_total",
        /// Messages written in one transaction.
        commit_batch_size: Histogram = "chat_commit_batch_size",
        /// How long a transaction of messages took, in seconds.
        commit_seconds: Histogram = "chat_commit_seconds",
        /// Messages that wait to be written.
        commit_queue: Gauge = "chat_commit_queue",
        /// Nodes of this deployment that are alive, as this one sees it; without REDIS_URL 1.
        nodes_alive: Gauge = "nodes_alive",
        /// Settings that must be the same on all nodes and are not.
        nodes_disagree: Gauge = "nodes_disagree",
        /// By how much the clock of this node is ahead of that of Redis, in seconds.
        clock_skew_seconds: Gauge = "clock_skew_seconds",
        /// Whether nodes hear each other, 1 or 0; 1 for a node alone.
        bus_up: Gauge = "bus_up",
        /// Messages between nodes, by direction.
        bus_messages: Family<Direction, Counter> = "bus_messages_total",
        /// Messages to other nodes that could not be given to Redis.
        bus_lost: Counter = "bus_lost_messages_total",
        /// Messages on the topics of the bus that no node has said.
        bus_malformed: Counter = "bus_malformed_messages_total",
        /// Connections that were not opened, by reason.
        refused: Family<Refused, Counter> = "chat_refused_connections_total",
        /// Connections ended by the server, by close code, and by the client.
        disconnects: Family<Ending, Counter> = "chat_disconnects_total",
    }
}

/// Why a connection ended, as a label: a close code of the protocol, or the client's own doing.
///
/// A code nobody knows counts as `other`, so that the set of series stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ending(usize);

/// The labels of [`Ending`]: the client's own doing, then the codes in order, then the rest.
const ENDINGS: &[&str] = &[
    "client", "1003", "1007", "1009", "1011", "1012", "1013", "3000", "3001", "3004", "3005",
    "3006", "3008", "3010", "3011", "3012", "3013", "3014", "3500", "3501", "3502", "3503", "3505",
    "3507", "3509", "4000", "4001", "4002", "4500", "4501", "other",
];

/// Everything this server counts.
#[derive(Debug)]
pub struct Metrics {
    /// The series themselves.
    pub series: Series,
    /// Deliveries due, by all shards; the scraped counter follows at a refresh.
    due: AtomicU64,
    /// Deliveries done, likewise.
    done: AtomicU64,
    /// Held for one refresh at a time.
    window: Mutex<SuccessWindow>,
}

/// A connection, counted for as long as this lives. It holds what leads to its gauges: there is one
/// for each connection, and handles of gauges are large.
#[derive(Debug)]
#[must_use = "the connection counts only while this is held"]
pub struct Connected {
    metrics: Arc<Metrics>,
    transport: Transport,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.gauges(self.transport).for_each(|gauge| gauge.decrement(1.0));
    }
}

impl Ending {
    /// The client went, with or without a farewell.
    pub const CLIENT: Self = Self(0);

    /// The server closed with this code.
    #[must_use]
    pub fn code(code: u16) -> Self {
        let text = code.to_string();
        let place = ENDINGS.iter().position(|known| **known == text);
        Self(place.unwrap_or(ENDINGS.len() - 1))
    }
}

impl Label for Ending {
    const NAME: &'static str = "code";
    const ALL: &'static [Self] = &{
        let mut all = [Self(0); ENDINGS.len()];
        let mut place = 0;
        while place < ENDINGS.len() {
            all[place] = Self(place);
            place += 1;
        }
        all
    };

    fn index(self) -> usize {
        self.0
    }

    fn as_str(self) -> &'static str {
        ENDINGS[self.0]
    }
}

impl Metrics {
    /// Registers every series; call it inside
    /// [`Handles::register`](chassis::telemetry::Handles::register).
    #[must_use]
    pub fn register() -> Self {
        let series = Series::register();
        // Nothing was due, so nothing failed.
        series.delivery_success_rate.set(1.0);
        // A server whose store is away does not start.
        series.store_up.set(1.0);
        series.nodes_alive.set(1.0);
        Self {
            series,
            due: AtomicU64::new(0),
            done: AtomicU64::new(0),
            window: Mutex::new(SuccessWindow::default()),
        }
    }

    /// Counts a connection until the result is dropped.
    pub fn connected(self: &Arc<Self>, transport: Transport) -> Connected {
        self.gauges(transport).for_each(|gauge| gauge.increment(1.0));
        Connected { metrics: self.clone(), transport }
    }

    /// What counts the connections of a transport.
    fn gauges(&self, transport: Transport) -> impl Iterator<Item = &Gauge> {
        let websocket = matches!(transport, Transport::Websocket);
        let all = websocket.then_some(&self.series.websocket_connections_active);
        std::iter::once(self.series.connections.of(transport)).chain(all)
    }

    /// Sets the number of distinct users, under both its names.
    pub fn set_active_users(&self, users: usize) {
        self.series.active_users.set(users as f64);
        self.series.active_users_total.set(users as f64);
    }

    /// What the committer counts.
    #[must_use]
    pub fn committer(&self) -> Meters {
        Meters {
            batch_size: self.series.commit_batch_size.clone(),
            commit_seconds: self.series.commit_seconds.clone(),
            waiting: self.series.commit_queue.clone(),
        }
    }

    /// What the bus counts.
    #[must_use]
    pub fn bus(&self) -> bus::Meters {
        bus::Meters {
            up: self.series.bus_up.clone(),
            said: self.series.bus_messages.of(Direction::Sent).clone(),
            heard: self.series.bus_messages.of(Direction::Received).clone(),
            lost: self.series.bus_lost.clone(),
            malformed: self.series.bus_malformed.clone(),
        }
    }

    /// Sets whether the store can be used.
    pub fn set_store_up(&self, up: bool) {
        self.series.store_up.set(f64::from(u8::from(up)));
    }

    /// Counts publications due to connections: call it once per publication or batch.
    pub fn deliveries_due(&self, count: u64) {
        self.due.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts publications handed to sockets, likewise.
    pub fn deliveries_done(&self, count: u64) {
        self.done.fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a connection's end.
    pub fn disconnected(&self, ending: Ending) {
        self.series.disconnects.of(ending).increment(1);
    }

    /// Brings the derived figures up to date.
    pub fn refresh(&self, now: Instant) {
        // Done first: what is done between the two readings was due before, never the reverse.
        let done = self.done.load(Ordering::Acquire);
        let due = self.due.load(Ordering::Acquire);
        self.series.deliveries_due.absolute(due);
        self.series.deliveries_done.absolute(done);
        let rate = self.window.lock().observe(now, window::Totals { due, done });
        self.series.delivery_success_rate.set(rate);
    }

    /// Refreshes every few seconds until `stop` is cancelled.
    pub async fn run(&self, stop: CancellationToken) {
        let mut ticks = interval(REFRESH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // The end first: nobody scrapes what comes after it.
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => self.refresh(Instant::now()),
            }
        }
    }
}

#[cfg(test)]
mod tests;
