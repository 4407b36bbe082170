//! What a client does and remembers, without a socket: frames in, frames out.
//!
//! It behaves as an application on an official SDK: one frame with `connect` and all subscriptions,
//! recovery from the last offset it has, a message said again with the same `idem` until it is
//! answered. Messages of plain channels have no such key there, so each attempt is a message of its
//! own. All it saw, sent and was told is in its [`Record`].

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::link::PATIENCE;
use super::place::{Kind, Place};
use super::record::{Line, Odd, Record};
use super::wire::{Published, Push, Refusal, Reply, Subscribed};
use crate::check::world::World;
use crate::check::{Name, plain, print, rooms};

/// Messages of one client to one kind of channel that wait for their answer at once: a fault always
/// meets some, and plain channels that have to wait for Redis hold no room up.
const WINDOW: usize = 4;

/// Before the same is tried again where the server does not say how long to wait.
const RETRY: Duration = Duration::from_millis(200);

/// Longest that a server's advice to wait is followed.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// The connection is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leave(pub &'static str);

/// A client.
#[derive(Debug)]
pub struct Person {
    world: Arc<World>,
    token: String,
    record: Record,
    places: Vec<Place>,
    by_channel: HashMap<Name, usize>,
    /// The first of its lines that was never said.
    next: usize,
    /// What is to be said now: what was not answered first, then what has become due.
    again: VecDeque<usize>,
    talk: Talk,
}

/// The state of one connection.
#[derive(Debug)]
struct Talk {
    node: usize,
    /// The server's id of the connection, once it is made.
    client: Option<Name>,
    last_id: u64,
    /// What waits for its reply, oldest first.
    asked: BTreeMap<u64, (Asked, Instant)>,
    /// Places to subscribe to again, and when.
    outside: Vec<(usize, Instant)>,
    /// Refused for now, by place: nothing is published there before.
    pauses: HashMap<usize, Instant>,
    outbox: Vec<String>,
    /// Seconds between two pings, as the server says.
    ping: u64,
}

#[derive(Debug, Clone)]
enum Asked {
    Connect,
    Subscribe(usize),
    Publish { line: usize, key: String, data: String },
}

impl Person {
    /// A client with a token, channels, and something to say in them.
    #[must_use]
    pub fn new(world: Arc<World>, name: &str, channels: &[(Name, Kind)], lines: Vec<Line>) -> Self {
        let places = channels.iter().map(|(channel, kind)| Place::new(channel.clone(), *kind));
        let names = channels.iter().map(|(channel, _)| channel.clone());
        let token = world.token(name);
        Self {
            places: places.collect(),
            by_channel: names.zip(0..).collect(),
            record: Record::new(name, lines),
            next: 0,
            again: VecDeque::new(),
            talk: Talk::new(0),
            world,
            token,
        }
    }

    /// Begins a connection with a node: the first frame.
    pub fn greet(&mut self, node: usize, now: Instant) -> String {
        self.talk = Talk::new(node);
        self.talk.ask(Asked::Connect, now, json!({ "connect": { "token": self.token } }));
        for (number, place) in self.places.iter().enumerate() {
            let subscribe = json!({ "subscribe": place.subscribe() });
            self.talk.ask(Asked::Subscribe(number), now, subscribe);
        }
        std::mem::take(&mut self.talk.outbox).join("\n")
    }

    /// Ends it: what was not answered is to be said again.
    pub fn hang_up(&mut self) {
        if let Some(client) = self.talk.client.take() {
            self.world.truth.leave(&client, self.world.elapsed());
        }
        let asked = std::mem::take(&mut self.talk.asked);
        for (asked, _) in asked.into_values().rev() {
            if let Asked::Publish { line, .. } = asked {
                self.again.push_front(line);
            }
        }
    }

    /// A frame came.
    ///
    /// # Errors
    /// When the connection is of no use any more.
    pub fn hear(&mut self, frame: &str, now: Instant) -> Result<(), Leave> {
        for line in frame.lines().filter(|line| !line.is_empty()) {
            if line == "{}" {
                self.talk.outbox.push("{}".to_owned());
                continue;
            }
            match serde_json::from_str::<Reply<'_>>(line) {
                Ok(reply) => self.take(&reply, now)?,
                Err(error) => self.odd(None, format!("cannot be read: {error}: {line}")),
            }
        }
        Ok(())
    }

    /// What there is to send now, if anything.
    pub fn speak(&mut self, now: Instant) -> Option<String> {
        if self.talk.client.is_some() {
            self.come_back(now);
            self.publish(now);
        }
        let frames = std::mem::take(&mut self.talk.outbox);
        (!frames.is_empty()).then(|| frames.join("\n"))
    }

    /// When to look again if nothing comes before.
    #[must_use]
    pub fn wake(&self, now: Instant) -> Instant {
        let patience = self.talk.asked.values().next().map(|(_, at)| *at + PATIENCE);
        let outside = self.talk.outside.iter().map(|(_, at)| *at).min();
        let line = self.talk.client.is_some().then(|| self.next_line(now)).flatten();
        [patience, outside, line].into_iter().flatten().min().unwrap_or(now + PATIENCE)
    }

    /// A command that is not answered in time ends the connection, as SDKs do.
    ///
    /// # Errors
    /// When that is so.
    pub fn mind(&mut self, now: Instant) -> Result<(), Leave> {
        let Some((asked, at)) = self.talk.asked.values().next() else { return Ok(()) };
        if *at + PATIENCE > now {
            return Ok(());
        }
        let what = match asked {
            Asked::Connect => "connect",
            Asked::Subscribe(_) => "subscribe",
            Asked::Publish { .. } => "publish",
        };
        self.record.unanswered.push((self.world.elapsed(), self.talk.node, what));
        Err(Leave("unanswered"))
    }

    /// After how long a silence the connection is dead.
    #[must_use]
    pub fn silence_max(&self) -> Duration {
        Duration::from_secs(self.talk.ping.max(1)) + 2 * PATIENCE
    }

    /// Whether it said and saw everything: in each channel it stands at its epoch and head.
    #[must_use]
    pub fn is_done(&self, heads: &HashMap<Name, (String, u64)>) -> bool {
        let there = |place: &Place| {
            let Some((epoch, offset)) = place.position() else { return false };
            heads.get(&place.channel).is_some_and(|head| head.0 == epoch && head.1 <= offset)
        };
        self.has_said_everything() && self.places.iter().all(there)
    }

    /// Whether everything it had to say was acknowledged.
    #[must_use]
    pub fn has_said_everything(&self) -> bool {
        let waiting = self.waiting(Kind::Room) + self.waiting(Kind::Plain);
        self.next == self.record.lines.len() && self.again.is_empty() && waiting == 0
    }

    /// The server ended the connection for good.
    pub fn sent_away(&mut self, code: u16) {
        let node = self.talk.node;
        self.odd(None, format!("was sent away for good by node {node} with code {code}"));
    }

    /// What it wrote down.
    #[must_use]
    pub fn finish(mut self) -> Record {
        self.hang_up();
        let again = std::mem::take(&mut self.again);
        self.record.unsaid = self.record.lines.len() - self.next + again.len();
        self.record.places = std::mem::take(&mut self.places);
        self.record
    }

    fn take(&mut self, reply: &Reply<'_>, now: Instant) -> Result<(), Leave> {
        if let Some(push) = &reply.push {
            return self.hear_push(push, now);
        }
        let Some((asked, _)) = self.talk.asked.remove(&reply.id) else {
            self.odd(None, format!("an answer to {}, which nothing was asked by", reply.id));
            return Ok(());
        };
        match (asked, &reply.error) {
            (Asked::Connect, None) => self.connected(reply),
            (Asked::Connect, Some(error)) => {
                if !error.temporary {
                    self.odd(None, format!("connect: {error}"));
                }
                return Err(Leave("refused"));
            }
            (Asked::Subscribe(place), None) => {
                self.enter(place, reply.subscribe.as_ref().unwrap_or(&Subscribed::default()));
            }
            (Asked::Subscribe(place), Some(error)) => self.kept_out(place, error, now),
            (Asked::Publish { line, key, data }, None) => {
                let published = reply.publish.as_ref();
                self.acknowledged(line, key, &data, published.unwrap_or(&Published::default()));
            }
            (Asked::Publish { line, .. }, Some(error)) => self.refused(line, error, now),
        }
        Ok(())
    }

    fn connected(&mut self, reply: &Reply<'_>) {
        let Some(connected) = &reply.connect else {
            return self.odd(None, "connect is answered with something else".to_owned());
        };
        let client = Name::from(connected.client.as_str());
        let (who, at) = (&self.record.client, self.world.elapsed());
        self.world.truth.connect(&client, who, self.talk.node, at);
        self.talk.client = Some(client);
        self.talk.ping = connected.ping;
        self.record.connections += 1;
        self.world.figures.connected(self.talk.node);
    }

    fn enter(&mut self, number: usize, reply: &Subscribed<'_>) {
        let place = &mut self.places[number];
        let entered = place.enter(reply);
        let channel = place.channel.clone();
        if let Some(client) = &self.talk.client {
            self.world.truth.enter(&channel, client);
        }
        if let Err(broken) = entered {
            self.odd(Some(channel), broken.to_string());
        }
    }

    fn kept_out(&mut self, number: usize, error: &Refusal<'_>, now: Instant) {
        if !error.temporary {
            let channel = self.places[number].channel.clone();
            self.odd(Some(channel), format!("subscribe: {error}"));
        }
        self.world.figures.refused(error);
        self.talk.outside.push((number, now + wait(error)));
    }

    fn acknowledged(&mut self, number: usize, key: String, data: &str, reply: &Published) {
        let line = &self.record.lines[number];
        let place = &self.places[line.place];
        let (channel, client) = (place.channel.clone(), self.record.client.clone());
        let Published { offset, epoch, id, duplicate } = reply;
        let (offset, id) = (*offset, id.clone());
        match place.kind {
            Kind::Room => {
                self.record.acks.push(rooms::Ack { room: channel, client, idem: key, offset, id });
            }
            Kind::Plain => {
                let (epoch, print) = (epoch.clone(), print(data));
                self.record.plain_acks.push(plain::Ack { channel, client, epoch, offset, print });
            }
        }
        self.record.duplicates += usize::from(*duplicate);
        self.world.acknowledged(line.begun, place.kind);
    }

    fn refused(&mut self, number: usize, error: &Refusal<'_>, now: Instant) {
        self.world.figures.refused(error);
        if error.temporary {
            let place = self.record.lines[number].place;
            self.talk.pauses.insert(place, now + wait(error));
            self.again.push_front(number);
            return;
        }
        let channel = self.places[self.record.lines[number].place].channel.clone();
        self.odd(Some(channel), format!("publish: {error}"));
        // Not said again: it would be refused again. The run counts it as said.
        self.world.given_up();
    }

    fn hear_push(&mut self, push: &Push<'_>, now: Instant) -> Result<(), Leave> {
        if push.disconnect.is_some() {
            return Err(Leave("disconnected"));
        }
        let Some(&number) = self.by_channel.get(&*push.channel) else { return Ok(()) };
        if let Some(publication) = push.publication.as_ref().filter(|one| one.offset > 0) {
            let place = &mut self.places[number];
            place.see(publication);
            self.world.delivered(publication.data.get(), self.talk.node, place.kind);
        }
        if let Some(ended) = &push.unsubscribe {
            let channel = self.places[number].channel.clone();
            if let Some(client) = &self.talk.client {
                self.world.truth.leave_one(&channel, client);
            }
            if ended.code >= 2500 {
                self.record.unsubscribed += 1;
                self.talk.outside.push((number, now));
            } else {
                self.odd(Some(channel), format!("was put out for good with {}", ended.code));
            }
        }
        Ok(())
    }

    /// Subscribes again where it was put out or kept out.
    fn come_back(&mut self, now: Instant) {
        let due = |(_, at): &(usize, Instant)| *at <= now;
        let (ready, later) = std::mem::take(&mut self.talk.outside).into_iter().partition(due);
        self.talk.outside = later;
        let ready: Vec<(usize, Instant)> = ready;
        for (number, _) in ready {
            let subscribe = json!({ "subscribe": self.places[number].subscribe() });
            self.talk.ask(Asked::Subscribe(number), now, subscribe);
        }
    }

    /// Says what is due, as much as may wait for an answer.
    fn publish(&mut self, now: Instant) {
        while self.is_due(now) {
            self.again.push_back(self.next);
            self.next += 1;
        }
        loop {
            let can_be_said = |number: &usize| self.free_at(*number).is_some_and(|at| at <= now);
            let Some(at) = self.again.iter().position(can_be_said) else { return };
            let number = self.again.remove(at).expect("the position was found in it");
            let (key, data) = self.words(number);
            let place = &self.places[self.record.lines[number].place];
            // The data stands in the command byte by byte as its fingerprint is taken.
            let channel = Value::from(&*place.channel);
            let publish = format!("\"publish\":{{\"channel\":{channel},\"data\":{data}}}");
            self.talk.ask_raw(Asked::Publish { line: number, key, data }, now, &publish);
        }
    }

    /// The words of a line: in a room the same each time, in a plain channel of this attempt.
    fn words(&mut self, number: usize) -> (String, String) {
        let (elapsed, node) = (self.world.elapsed(), self.talk.node);
        let line = &mut self.record.lines[number];
        let kind = self.places[line.place].kind;
        let (begun, from) = *line.begun.get_or_insert((elapsed, node));
        if kind == Kind::Plain {
            line.idem = Uuid::new_v4();
        }
        let (key, client) = (line.idem.to_string(), &self.record.client);
        let body = format!("{client} says number {number} n{from}@{}", begun.as_micros());
        let data = json!({ "type": "message", "body": body, "idem": key }).to_string();
        (key, data)
    }

    fn is_due(&self, now: Instant) -> bool {
        let line = self.record.lines.get(self.next);
        line.and_then(|line| self.world.when(line.due)).is_some_and(|due| due <= now)
    }

    /// When there is something to publish.
    fn next_line(&self, now: Instant) -> Option<Instant> {
        let next = self.record.lines.get(self.next).and_then(|line| self.world.when(line.due));
        let again = self.again.iter().filter_map(|&number| self.free_at(number)).min();
        [next, again].into_iter().flatten().min().map(|at| at.max(now))
    }

    /// From when on a line can be said; `None` when an answer has to come first.
    fn free_at(&self, number: usize) -> Option<Instant> {
        let place = self.record.lines[number].place;
        let has_room = self.waiting(self.places[place].kind) < WINDOW;
        let pause = self.talk.pauses.get(&place).copied();
        has_room.then(|| pause.unwrap_or(self.world.started))
    }

    fn waiting(&self, kind: Kind) -> usize {
        let is_one = |(asked, _): &&(Asked, Instant)| match asked {
            Asked::Publish { line, .. } => self.places[self.record.lines[*line].place].kind == kind,
            Asked::Connect | Asked::Subscribe(_) => false,
        };
        self.talk.asked.values().filter(is_one).count()
    }

    fn odd(&mut self, channel: Option<Name>, what: String) {
        let (client, at) = (self.record.client.clone(), self.world.elapsed());
        self.record.odd.push(Odd { client, channel, at, what });
    }
}

impl Talk {
    fn new(node: usize) -> Self {
        Self {
            node,
            client: None,
            last_id: 0,
            asked: BTreeMap::new(),
            outside: Vec::new(),
            pauses: HashMap::new(),
            outbox: Vec::new(),
            ping: 0,
        }
    }

    fn ask(&mut self, asked: Asked, now: Instant, command: Value) {
        let text = command.to_string();
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        self.ask_raw(asked, now, inner.expect("a command is an object"));
    }

    /// Adds a command whose members are given as text.
    fn ask_raw(&mut self, asked: Asked, now: Instant, members: &str) {
        self.last_id += 1;
        self.asked.insert(self.last_id, (asked, now));
        self.outbox.push(format!("{{\"id\":{},{members}}}", self.last_id));
    }
}

impl std::fmt::Display for Refusal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "refused with {} {} {}", self.code, self.reason, self.message)
    }
}

/// How long to wait before the same is tried again.
fn wait(error: &Refusal<'_>) -> Duration {
    match error.retry_after_ms {
        0 => RETRY,
        advice => Duration::from_millis(advice).min(RETRY_MAX),
    }
}
