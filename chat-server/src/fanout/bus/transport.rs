//! The bus through Redis: one connection that speaks, one that listens.
//!
//! Two tasks. The speaker takes what has gathered and sends it in one pipeline; what it cannot
//! send is lost, and counted. The listener holds the list of what is wanted against what is
//! listened to, so a connection that broke is made again whole; then whoever receives is told that
//! something may have been missed.
//!
//! The names of topics begin with a prefix of the deployment: two of them may share one Redis.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::redis::Redis;
use chassis::redis::commands::{Msg, RedisError, Value, cmd, pipe};
use futures_util::StreamExt;
use parking_lot::Mutex;
use rand::RngExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{BusState, Listening, Message, Receiver, Topic, decode, encode};
use crate::nodes::tag;

/// Messages that wait to be said: what a busy node says in a tenth of a second. Beyond, the newest
/// are lost; the others repair what they miss.
const WAITING_MAX: usize = 16 * 1024;

/// Messages of one pipeline.
const PIPELINE_MAX: usize = 256;

/// Topics in one command.
const TOPICS_MAX: usize = 256;

/// How long whoever enters a channel waits until it is listened to.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);

/// Between two attempts to listen again, at most; nodes do not all come at once.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Why nothing is heard before the first connection.
const CONNECTING: &str = "connecting";

/// Both directions of one node.
#[derive(Debug)]
pub struct Transport {
    prefix: String,
    node: Uuid,
    redis: Redis,
    waiting: mpsc::Sender<(String, Bytes)>,
    wanted: Mutex<Wanted>,
    /// Something became wanted, or is not wanted any more.
    changed: Notify,
    state: watch::Sender<BusState>,
}

/// The tasks of a transport, not running yet.
#[derive(Debug)]
pub struct Tasks {
    redis: Redis,
    transport: Arc<Transport>,
    waiting: mpsc::Receiver<(String, Bytes)>,
}

#[derive(Debug, Default)]
struct Wanted {
    channels: HashMap<Arc<str>, Want>,
    /// Those that changed since the listener looked.
    changed: Vec<Arc<str>>,
}

#[derive(Debug)]
struct Want {
    holders: usize,
    confirmed: watch::Sender<bool>,
}

impl Transport {
    /// A bus between the nodes that share `prefix` on one Redis; nothing is connected yet.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str, node: Uuid) -> (Arc<Self>, Tasks) {
        let (sender, waiting) = mpsc::channel(WAITING_MAX);
        let transport = Arc::new(Self {
            prefix: prefix.to_owned(),
            node,
            redis: redis.clone(),
            waiting: sender,
            wanted: Mutex::default(),
            changed: Notify::new(),
            state: watch::Sender::new(BusState::Down(CONNECTING)),
        });
        (transport.clone(), Tasks { redis, transport, waiting })
    }

    pub(super) fn say(&self, topic: Topic<'_>, message: &Message) {
        let said = (self.name(topic), encode(self.node, message));
        if self.waiting.try_send(said).is_err() {
            tracing::debug!("the bus is behind: a message is lost");
        }
    }

    pub(super) async fn tell(&self, topic: Topic<'_>, message: &Message) -> Option<u64> {
        let mut publish = cmd("PUBLISH");
        publish.arg(self.name(topic)).arg(&*encode(self.node, message));
        let told = self.redis.query::<u64>(&publish).await;
        told.inspect_err(|error| tracing::debug!(%error, "nodes could not be told")).ok()
    }

    pub(super) fn state(&self) -> watch::Receiver<BusState> {
        self.state.subscribe()
    }

    pub(super) fn listen(this: &Arc<Self>, channel: &Arc<str>) -> Listening {
        let mut wanted = this.wanted.lock();
        let want = wanted
            .channels
            .entry(channel.clone())
            .or_insert_with(|| Want { holders: 0, confirmed: watch::Sender::new(false) });
        want.holders += 1;
        let (is_new, confirmed) = (want.holders == 1, want.confirmed.subscribe());
        if is_new {
            wanted.changed.push(channel.clone());
            this.changed.notify_one();
        }
        Listening { channel: channel.clone(), transport: Some(this.clone()), confirmed }
    }

    pub(super) fn forget(&self, channel: &Arc<str>) {
        let mut wanted = self.wanted.lock();
        let Some(want) = wanted.channels.get_mut(channel) else { return };
        want.holders -= 1;
        if want.holders == 0 {
            wanted.changed.push(channel.clone());
            self.changed.notify_one();
        }
    }

    pub(super) async fn confirmed(&self, mut confirmed: watch::Receiver<bool>) -> bool {
        // A node that starts hears the others in a moment.
        if !matches!(*self.state.borrow(), BusState::Up | BusState::Down(CONNECTING)) {
            return *confirmed.borrow();
        }
        let listened_to = confirmed.wait_for(|confirmed| *confirmed);
        timeout(CONFIRM_TIMEOUT, listened_to).await.is_ok_and(|listened_to| listened_to.is_ok())
    }

    fn name(&self, topic: Topic<'_>) -> String {
        let prefix = &self.prefix;
        match topic {
            // With a hash tag, so that a script may say something there beside what it writes.
            Topic::Channel(channel) => format!("{prefix}:c:{{{}}}", tag::of_channel(channel)),
            Topic::Node(node) => format!("{prefix}:n:{node}"),
            Topic::Everyone => format!("{prefix}:all"),
        }
    }

    /// Topics of channels by their tags.
    fn topic<'a>(&self, name: &'a str) -> Option<Topic<'a>> {
        match name.strip_prefix(&self.prefix)?.strip_prefix(':')? {
            "all" => Some(Topic::Everyone),
            rest => match rest.split_once(':')? {
                ("c", tag) => Some(Topic::Channel(tag.strip_prefix('{')?.strip_suffix('}')?)),
                ("n", node) => Some(Topic::Node(node)),
                _ => None,
            },
        }
    }

    fn heard(&self, said: &Msg, receiver: &dyn Receiver) {
        let Some(mut topic) = self.topic(said.get_channel_name()) else { return };
        let channel;
        if let Topic::Channel(tag) = topic {
            let Some(untagged) = tag::channel(tag) else { return };
            channel = untagged;
            topic = Topic::Channel(&channel);
        }
        match decode(Bytes::copy_from_slice(said.get_payload_bytes())) {
            Ok((node, _)) if node == self.node => {}
            Ok((node, Some(message))) => receiver.receive(node, topic, message),
            Ok((_, None)) => tracing::debug!("a node says what this version does not know"),
            Err(error) => tracing::warn!(%error, "a message on the bus that no node has said"),
        }
    }

    /// What is to be listened to from now on, and what no longer.
    fn changes(&self) -> (Vec<Arc<str>>, Vec<Arc<str>>) {
        let mut wanted = self.wanted.lock();
        let mut changed = std::mem::take(&mut wanted.changed);
        changed.sort_unstable();
        changed.dedup();
        let is_wanted =
            |channel: &Arc<str>| wanted.channels.get(channel).is_some_and(|want| want.holders > 0);
        let (begin, end): (Vec<_>, Vec<_>) = changed.into_iter().partition(is_wanted);
        for channel in &end {
            wanted.channels.remove(channel);
        }
        (begin, end)
    }

    /// Everything that is to be listened to.
    fn all(&self) -> Vec<Arc<str>> {
        let mut wanted = self.wanted.lock();
        wanted.changed.clear();
        wanted.channels.retain(|_, want| want.holders > 0);
        wanted.channels.keys().cloned().collect()
    }

    fn confirm(&self, channels: &[Arc<str>], confirmed: bool) {
        let wanted = self.wanted.lock();
        for want in channels.iter().filter_map(|channel| wanted.channels.get(channel)) {
            want.confirmed.send_replace(confirmed);
        }
    }

    fn names(&self, channels: &[Arc<str>]) -> Vec<String> {
        channels.iter().map(|channel| self.name(Topic::Channel(channel))).collect()
    }
}

impl Tasks {
    /// Speaks and listens until `stop`.
    pub async fn run(self, receiver: Arc<dyn Receiver>, stop: CancellationToken) {
        let Self { redis, transport, waiting } = self;
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = speak(&redis, waiting) => {}
            () = listen(&redis, &transport, &*receiver) => {}
        }
    }
}

async fn speak(redis: &Redis, mut waiting: mpsc::Receiver<(String, Bytes)>) {
    let mut said = Vec::with_capacity(PIPELINE_MAX);
    let mut link = None;
    while waiting.recv_many(&mut said, PIPELINE_MAX).await > 0 {
        if link.is_none() {
            link = redis.link().await.ok();
        }
        let mut pipeline = pipe();
        for (topic, message) in said.drain(..) {
            pipeline.cmd("PUBLISH").arg(topic).arg(&*message).ignore();
        }
        let Some(connection) = &mut link else { continue };
        if let Err(error) = pipeline.query_async::<Value>(connection).await {
            tracing::debug!(%error, "messages are lost on the bus");
            link = None;
        }
    }
}

async fn listen(redis: &Redis, transport: &Transport, receiver: &dyn Receiver) {
    loop {
        if let Err(error) = listen_once(redis, transport, receiver).await {
            tracing::debug!(%error, "the bus is away");
        }
        transport.state.send_replace(BusState::Down("disconnected"));
        transport.confirm(&transport.all(), false);
        let part: f64 = rand::rng().random_range(0.1..1.0);
        sleep(RETRY_MAX.mul_f64(part)).await;
    }
}

async fn listen_once(
    redis: &Redis,
    transport: &Transport,
    receiver: &dyn Receiver,
) -> Result<(), chassis::redis::Error> {
    let (mut ear, mut heard) = redis.ear().await?.split();
    let own =
        [transport.name(Topic::Node(&transport.node.to_string())), transport.name(Topic::Everyone)];
    ear.subscribe(&own).await?;
    let all = transport.all();
    for channels in all.chunks(TOPICS_MAX) {
        ear.subscribe(transport.names(channels)).await?;
        transport.confirm(channels, true);
    }
    transport.state.send_replace(BusState::Up);
    receiver.resumed();
    loop {
        tokio::select! {
            biased;
            () = transport.changed.notified() => {
                let (begin, end) = transport.changes();
                for channels in begin.chunks(TOPICS_MAX) {
                    ear.subscribe(transport.names(channels)).await?;
                    transport.confirm(channels, true);
                }
                for channels in end.chunks(TOPICS_MAX) {
                    ear.unsubscribe(transport.names(channels)).await?;
                }
            }
            said = heard.next() => match said {
                Some(said) => transport.heard(&said, receiver),
                None => return Err(closed().into()),
            },
        }
    }
}

fn closed() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
}
