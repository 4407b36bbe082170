//! The bus through Redis: a line to each server that has topics.
//!
//! One server has them all; a cluster shares them out by their names, and each of its servers has a
//! line of its own, so that one which is away takes only its own topics with it.
//!
//! The names of topics begin with a prefix of the deployment: several may share one Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::redis::commands::cmd;
use chassis::redis::{Fault, Masters, Redis};
use parking_lot::RwLock;
use rand::RngExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::line::{Line, Work, may_hear};
use super::meters::Strangers;
use super::wanted::{Confirmed, Hold, Wanted};
use super::{
    BusState, CONNECTING, Listening, Message, Meters, Receiver, Topic, decode, encode, is_said_by,
};
use crate::nodes::tag;

/// How long whoever enters a channel waits until it is listened to.
const CONFIRM_TIMEOUT: Duration = Duration::from_millis(500);

/// Between two searches for the servers while all is well: slots may have moved unnoticed.
const SEARCH_INTERVAL: Duration = Duration::from_secs(5);

/// From the first hint that the servers are others to a search: servers of a cluster tell each
/// other, and whoever has just searched is not asked again.
const HINT_DELAY: Duration = Duration::from_millis(150);

/// Between two searches while something is wrong, at most; nodes do not all ask at once.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// Both directions of one node.
#[derive(Debug)]
pub struct Transport {
    redis: Redis,
    prefix: String,
    node: Uuid,
    meters: Meters,
    strangers: Strangers,
    wanted: Wanted,
    /// A lock that is written to when servers come or go.
    lines: RwLock<Lines>,
    /// The servers may be others.
    search: Notify,
    state: watch::Sender<BusState>,
}

/// The tasks of a transport, not running yet.
#[derive(Debug)]
pub struct Tasks {
    transport: Arc<Transport>,
}

/// The lines, in the order of the servers.
#[derive(Debug, Clone, Default)]
struct Lines {
    masters: Arc<Masters>,
    lines: Vec<Arc<Line>>,
}

impl Lines {
    fn of(&self, topic: &str) -> Option<&Arc<Line>> {
        self.masters.place_of(topic.as_bytes()).and_then(|place| self.lines.get(place))
    }
}

impl Transport {
    /// A bus between the nodes that share `prefix` on one Redis; nothing is connected yet.
    #[must_use]
    pub fn new(redis: Redis, prefix: &str, node: Uuid, meters: Meters) -> (Arc<Self>, Tasks) {
        let transport = Arc::new(Self {
            redis,
            prefix: prefix.to_owned(),
            node,
            meters,
            strangers: Strangers::default(),
            wanted: Wanted::default(),
            lines: RwLock::default(),
            search: Notify::new(),
            state: watch::Sender::new(BusState::Down(CONNECTING)),
        });
        // What is said to this node is listened to as long as it lives.
        let name = transport.name(Topic::Node(&node.to_string()));
        transport.wanted.hold(name.into());
        (transport.clone(), Tasks { transport })
    }

    pub(super) fn say(&self, topic: Topic<'_>, message: &Message) {
        let said = (self.name(topic), encode(self.node, message));
        let lines = self.lines.read();
        if !lines.of(&said.0).is_some_and(|line| line.say(said)) {
            self.meters.lost.increment(1);
        }
    }

    pub(super) async fn tell(&self, topic: Topic<'_>, message: &Message) -> Option<u64> {
        let mut publish = cmd(self.redis.publish());
        publish.arg(self.name(topic)).arg(&*encode(self.node, message));
        let told = self.redis.query::<u64>(&publish).await;
        told.inspect_err(|error| tracing::debug!(%error, "nodes could not be told")).ok()
    }

    pub(super) fn reaches(&self, topic: Topic<'_>) -> bool {
        let lines = self.lines.read();
        lines.of(&self.name(topic)).is_some_and(|line| *line.state.borrow() == BusState::Up)
    }

    pub(super) fn refusal(&self) -> Option<Fault> {
        self.redis.refusal()
    }

    pub(super) fn state(&self) -> watch::Receiver<BusState> {
        self.state.subscribe()
    }

    pub(super) fn listen(this: &Arc<Self>, channel: &str) -> Listening {
        let held = this.wanted.hold(this.name(Topic::Channel(channel)).into());
        let Hold { topic, confirmed, is_first } = held;
        if is_first {
            this.changed(&topic);
        }
        Listening { topic, transport: this.clone(), confirmed }
    }

    pub(super) fn forget(&self, topic: &Arc<str>) {
        if self.wanted.release(topic) {
            self.changed(topic);
        }
    }

    fn changed(&self, topic: &Arc<str>) {
        if let Some(line) = self.lines.read().of(topic) {
            line.change(topic);
        }
    }

    /// Waits until a topic is listened to, unless it is known that it will take long.
    pub(super) async fn confirmed(&self, topic: &str, confirmed: &Confirmed) -> bool {
        let line = self.lines.read().of(topic).cloned();
        let Some(line) = line.filter(|line| line.may_hear()) else { return confirmed.is_so() };
        let mut state = line.state.subscribe();
        let listened_to = async {
            tokio::select! {
                biased;
                () = confirmed.wait() => true,
                _ = state.wait_for(|state| !may_hear(*state)) => false,
            }
        };
        timeout(CONFIRM_TIMEOUT, listened_to).await.unwrap_or(false)
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.meters
    }

    /// Tells the holders of these whether they are listened to, as far as they are of this line: a
    /// topic that moved is another's to tell of.
    pub(super) fn confirm<'a>(
        &self,
        line: &Arc<Line>,
        topics: impl IntoIterator<Item = &'a Arc<str>>,
        confirmed: bool,
    ) {
        // Held meanwhile, so that none moves between the look and the word.
        let lines = self.lines.read();
        let is_here = |topic: &&Arc<str>| lines.of(topic).is_some_and(|of| Arc::ptr_eq(of, line));
        self.wanted.confirm(topics.into_iter().filter(is_here), confirmed);
    }

    /// What is to be listened to on a line.
    pub(super) fn topics_of(&self, line: &Arc<Line>) -> Vec<Arc<str>> {
        let lines = self.lines.read().clone();
        self.wanted.all(|topic| lines.of(topic).is_some_and(|of| Arc::ptr_eq(of, line)))
    }

    /// Whether a topic is to be listened to on a line.
    pub(super) fn is_wanted_of(&self, line: &Arc<Line>, topic: &Arc<str>) -> bool {
        let is_here = self.lines.read().of(topic).is_some_and(|of| Arc::ptr_eq(of, line));
        is_here && self.wanted.is_held(topic)
    }

    /// The servers may be others.
    pub(super) fn search_soon(&self) {
        self.search.notify_one();
    }

    /// The state of a line has changed: so may that of all.
    pub(super) fn settle(&self) {
        let lines = self.lines.read();
        let mut states = lines.lines.iter().map(|line| *line.state.borrow());
        let state = match states.find(|state| *state != BusState::Up) {
            Some(down) => down,
            None if lines.lines.is_empty() => return,
            None => BusState::Up,
        };
        self.turn(state);
    }

    fn turn(&self, state: BusState) {
        self.state.send_if_modified(|known| {
            if *known == state {
                return false;
            }
            match (state, *known) {
                (BusState::Up, _) => tracing::info!("the bus is there"),
                (BusState::Down(reason), _) => tracing::warn!(reason, "the bus is away"),
            }
            *known = state;
            true
        });
        self.meters.up.set(f64::from(u8::from(state == BusState::Up)));
    }

    fn name(&self, topic: Topic<'_>) -> String {
        let prefix = &self.prefix;
        match topic {
            Topic::Channel(channel) => tag::topic(prefix, channel),
            Topic::Node(node) => format!("{prefix}:n:{node}"),
        }
    }

    /// Topics of channels by their tags.
    fn topic<'a>(&self, name: &'a [u8]) -> Option<Topic<'a>> {
        let name = std::str::from_utf8(name).ok()?;
        match name.strip_prefix(&self.prefix)?.strip_prefix(':')?.split_once(':')? {
            ("c", tag) => Some(Topic::Channel(tag.strip_prefix('{')?.strip_suffix('}')?)),
            ("n", node) => Some(Topic::Node(node)),
            _ => None,
        }
    }

    /// Something was said; called by the task of a connection.
    pub(super) fn heard(&self, topic: &[u8], said: Bytes, receiver: &dyn Receiver) {
        // What this node has said is known here.
        if is_said_by(self.node, &said) {
            return;
        }
        let Some(mut known) = self.topic(topic) else { return };
        let channel;
        if let Topic::Channel(tag) = known {
            let Some(untagged) = tag::channel(tag) else { return };
            channel = untagged;
            known = Topic::Channel(&channel);
        }
        match decode(said) {
            Ok((node, _)) if node == self.node => {}
            Ok((node, Some(message))) => {
                self.meters.heard.increment(1);
                receiver.receive(node, known, message);
            }
            Ok((_, None)) => tracing::debug!("a node says what this version does not know"),
            Err(error) => {
                self.meters.malformed.increment(1);
                self.strangers.report(topic, &error);
            }
        }
    }
}

impl Tasks {
    /// Speaks and listens until `stop`.
    pub async fn run(self, receiver: Arc<dyn Receiver>, stop: CancellationToken) {
        // Whoever is in here when this ends goes with it.
        let mut tasks = JoinSet::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.keep(receiver, &mut tasks) => {}
        }
        tasks.shutdown().await;
    }

    /// Keeps a line to each server.
    async fn keep(&self, receiver: Arc<dyn Receiver>, tasks: &mut JoinSet<()>) {
        let Self { transport } = self;
        let redis = &transport.redis;
        let mut masters = redis.masters();
        loop {
            let known = masters.borrow_and_update().clone();
            self.renew(&known, &receiver, tasks);
            let is_well = *transport.state.borrow() == BusState::Up && known.is_whole();
            let wait = if is_well { SEARCH_INTERVAL } else { RETRY_MAX };
            let part: f64 = rand::rng().random_range(0.5..1.0);
            tokio::select! {
                biased;
                _ = masters.changed() => continue,
                () = transport.search.notified() => sleep(HINT_DELAY).await,
                () = sleep(wait.mul_f64(part)) => {}
            }
            // A task that panicked is a line that nobody keeps: it is made again.
            while let Some(ended) = tasks.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "a line of the bus has ended");
                    let lines = std::mem::take(&mut transport.lines.write().lines);
                    lines.iter().for_each(|line| line.end());
                }
            }
            if let Err(error) = redis.search().await
                && transport.lines.read().lines.is_empty()
            {
                let error = chassis::redis::Error::from(error);
                transport.turn(BusState::Down(error.fault().word()));
            }
        }
    }

    /// Makes lines to servers that are new, ends those to servers that are gone, and has each look
    /// at what moved.
    fn renew(&self, masters: &Arc<Masters>, receiver: &Arc<dyn Receiver>, tasks: &mut JoinSet<()>) {
        let Self { transport } = self;
        let redis = &transport.redis;
        let mut lines = transport.lines.write();
        if Arc::ptr_eq(&lines.masters, masters) && !lines.lines.is_empty() {
            return;
        }
        let before = lines.clone();
        let mut old = std::mem::take(&mut lines.lines);
        for server in masters.addresses() {
            let known = old.iter().position(|line| line.server == *server);
            let line = match known {
                Some(place) => old.swap_remove(place),
                None => {
                    let (line, waiting) = Line::new(server.clone());
                    let work = Work {
                        line: line.clone(),
                        redis: redis.clone(),
                        transport: transport.clone(),
                        receiver: receiver.clone(),
                    };
                    tasks.spawn(work.run(waiting));
                    line
                }
            };
            lines.lines.push(line);
        }
        lines.masters = masters.clone();
        let moved = transport.wanted.all(|topic| match (before.of(topic), lines.of(topic)) {
            (Some(before), Some(now)) => !Arc::ptr_eq(before, now),
            (before, now) => before.is_some() || now.is_some(),
        });
        // Before their new lines can know of them.
        transport.wanted.confirm(&moved, false);
        let now = lines.clone();
        drop(lines);
        for line in old {
            line.end();
        }
        if !moved.is_empty() {
            for line in &now.lines {
                let comes = |topic| now.of(topic).is_some_and(|of| Arc::ptr_eq(of, line));
                line.shift(&moved, moved.iter().any(|topic| comes(topic)));
            }
        }
        transport.settle();
    }
}
