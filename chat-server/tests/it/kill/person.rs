//! One of the clients of the kill test: says what it has to say, repeats what was not answered,
//! recovers where it left off, and writes everything down for the checker.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use loadtest::check::rooms::{Ack, Event, Name, Sent, View};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

use super::link::{Gone, Link};
use crate::harness::token;

/// Messages that wait for their answer at once: enough that a kill always meets some.
const WINDOW: usize = 8;

/// Between two attempts to connect where nobody says that there is a new server.
const RETRY: Duration = Duration::from_secs(1);

/// What all clients share.
#[derive(Debug, Clone)]
pub struct World {
    pub port: u16,
    /// Changes when a new server listens.
    pub up: watch::Receiver<u32>,
    /// How many messages were acknowledged, by everyone together.
    pub acknowledged: Arc<watch::Sender<usize>>,
    /// The last offset of each room, once everything is said.
    pub heads: watch::Receiver<Option<Arc<HashMap<Name, u64>>>>,
}

/// What a client wrote down.
#[derive(Debug, Default)]
pub struct Record {
    pub client: Name,
    pub sent: Vec<Sent>,
    pub acks: Vec<Ack>,
    pub views: BTreeMap<Name, View>,
    /// Subscriptions that went on where the client had left off.
    pub recoveries: usize,
    /// Answers that said: this was there already.
    pub duplicates: usize,
}

/// A client.
#[derive(Debug)]
pub struct Person {
    world: World,
    /// Where it stands in each of its rooms: offset and epoch, once it was there.
    places: BTreeMap<Name, Option<(u64, String)>>,
    /// What is still to be said, by number in `sent`.
    unsaid: VecDeque<usize>,
    record: Record,
}

/// The state of one connection.
#[derive(Debug)]
struct Talk {
    link: Link,
    /// What a command asked, by its id.
    asked: HashMap<u64, Asked>,
    subscriptions_due: usize,
    /// Refused for now: nothing is said before.
    pause: Instant,
}

#[derive(Debug)]
enum Asked {
    Connect,
    Subscribe(Name),
    Publish(usize),
}

impl Person {
    /// A client with so many messages for its rooms, in turn.
    pub fn new(name: &str, rooms: &[Name], messages: usize, world: World) -> Self {
        let name: Name = name.into();
        let message = |number: usize| Sent {
            room: rooms[number % rooms.len()].clone(),
            client: name.clone(),
            idem: Uuid::new_v4().to_string(),
        };
        let sent = (0..messages).map(message).collect();
        Self {
            world,
            places: rooms.iter().map(|room| (room.clone(), None)).collect(),
            unsaid: (0..messages).collect(),
            record: Record { client: name, sent, ..Record::default() },
        }
    }

    /// Comes back until everything is said and seen.
    pub async fn run(mut self) -> Record {
        loop {
            self.world.up.borrow_and_update();
            match Link::open(self.world.port).await {
                Ok(link) => {
                    if self.talk(link).await.is_ok() {
                        return self.record;
                    }
                }
                // Between two servers, or one that had too much to do to shake hands.
                Err(Gone) => drop(timeout(RETRY, self.world.up.changed()).await),
            }
        }
    }

    /// One connection, to its end or to the end of everything.
    async fn talk(&mut self, link: Link) -> Result<(), Gone> {
        let now = Instant::now();
        let mut talk = Talk { link, asked: HashMap::new(), subscriptions_due: 0, pause: now };
        self.greet(&mut talk).await?;
        let ended = self.converse(&mut talk).await;
        // What was not answered is said again, in the same order, before anything else.
        let mut unanswered: Vec<usize> = talk.asked.values().filter_map(Asked::message).collect();
        unanswered.sort_unstable_by(|one, other| other.cmp(one));
        unanswered.into_iter().for_each(|number| self.unsaid.push_front(number));
        ended
    }

    async fn converse(&mut self, talk: &mut Talk) -> Result<(), Gone> {
        loop {
            if talk.subscriptions_due == 0 && talk.pause <= Instant::now() {
                self.say(talk).await?;
            }
            if self.has_seen_everything() {
                return Ok(());
            }
            let waits = talk.pause > Instant::now();
            tokio::select! {
                messages = talk.link.messages() => {
                    for message in messages? {
                        self.hear(talk, &message)?;
                    }
                }
                _ = self.world.heads.changed() => {}
                () = sleep_until(talk.pause), if waits => {}
            }
        }
    }

    /// Connects and subscribes, with one frame as SDKs do.
    async fn greet(&mut self, talk: &mut Talk) -> Result<(), Gone> {
        let mut commands = vec![json!({ "connect": { "token": token(&self.record.client) } })];
        let mut asked = vec![Asked::Connect];
        for (room, place) in &self.places {
            let mut subscribe = json!({ "channel": format!("room:{room}") });
            if let Some((offset, epoch)) = place {
                subscribe["recover"] = json!(true);
                subscribe["offset"] = json!(offset);
                subscribe["epoch"] = json!(epoch);
            }
            commands.push(json!({ "subscribe": subscribe }));
            asked.push(Asked::Subscribe(room.clone()));
        }
        talk.subscriptions_due = self.places.len();
        let first = talk.link.send(commands).await?;
        talk.asked.extend((first..).zip(asked));
        Ok(())
    }

    /// Says as much as may wait for an answer.
    async fn say(&mut self, talk: &mut Talk) -> Result<(), Gone> {
        let room = WINDOW.saturating_sub(talk.asked.len()).min(self.unsaid.len());
        let numbers: Vec<usize> = self.unsaid.drain(..room).collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let publish = |&number: &usize| {
            let Sent { room, idem, client } = &self.record.sent[number];
            let body = format!("{client} says number {number}");
            let data = json!({ "type": "message", "body": body, "idem": idem });
            json!({ "publish": { "channel": format!("room:{room}"), "data": data } })
        };
        let sent = talk.link.send(numbers.iter().map(publish).collect()).await;
        if sent.is_err() {
            numbers.into_iter().rev().for_each(|number| self.unsaid.push_front(number));
            return Err(Gone);
        }
        talk.asked.extend((sent?..).zip(numbers.into_iter().map(Asked::Publish)));
        Ok(())
    }

    fn hear(&mut self, talk: &mut Talk, message: &Value) -> Result<(), Gone> {
        let asked = message["id"].as_u64().and_then(|id| talk.asked.remove(&id));
        let is_greeting = matches!(asked, Some(Asked::Connect | Asked::Subscribe(_)));
        if is_greeting && message["error"]["temporary"] == true {
            // The server has just started and everyone is here: it comes again, as SDKs do.
            return Err(Gone);
        }
        match asked {
            None => self.hear_push(&message["push"]),
            Some(Asked::Connect) => assert!(message["connect"].is_object(), "{message}"),
            Some(Asked::Subscribe(room)) => {
                talk.subscriptions_due -= 1;
                self.enter(&room, message);
            }
            Some(Asked::Publish(number)) => self.hear_answer(talk, number, message),
        }
        Ok(())
    }

    fn hear_push(&mut self, push: &Value) {
        let channel = push["channel"].as_str().unwrap_or_default();
        let Some(room) = channel.strip_prefix("room:").map(Name::from) else { return };
        assert!(push["unsubscribe"].is_null(), "{push}");
        if push["pub"]["offset"].is_u64() {
            self.see(&room, &push["pub"]);
        }
    }

    /// It is subscribed: the first time from here on, later from where it had left off.
    fn enter(&mut self, room: &Name, reply: &Value) {
        let result = &reply["subscribe"];
        assert!(result.is_object(), "{}: {reply}", self.record.client);
        let position = (result["offset"].as_u64().unwrap_or(0), text(&result["epoch"]));
        let place = self.places.get_mut(room).unwrap();
        let Some((_, epoch)) = place else {
            let view = View { after: position.0, seen: Vec::new() };
            self.record.views.insert(room.clone(), view);
            *place = Some(position);
            return;
        };
        assert_eq!(*epoch, position.1, "the epoch outlives the server");
        assert_eq!(result["recovered"], true, "{}: {result}", self.record.client);
        self.record.recoveries += 1;
        for publication in result["publications"].as_array().map_or(&[][..], Vec::as_slice) {
            self.see(room, publication);
        }
        let place = self.places.get(room).unwrap().clone();
        assert_eq!(place, Some(position), "a page ends where the reply says");
    }

    fn see(&mut self, room: &Name, publication: &Value) {
        let offset = publication["offset"].as_u64().unwrap();
        if let Some(Some((last, _))) = self.places.get_mut(room) {
            *last = offset;
        }
        let view = self.record.views.get_mut(room).unwrap();
        view.seen.push(event(offset, &publication["data"]).glimpse());
    }

    fn hear_answer(&mut self, talk: &mut Talk, number: usize, message: &Value) {
        let Sent { room, client, idem } = self.record.sent[number].clone();
        if message["error"]["temporary"] == true {
            let wait = message["error"]["retry_after_ms"].as_u64().unwrap_or(100);
            talk.pause = talk.pause.max(Instant::now() + Duration::from_millis(wait));
            self.unsaid.push_front(number);
            return;
        }
        let result = &message["publish"];
        assert!(result["offset"].is_u64(), "{client}: {message}");
        let (offset, id) = (result["offset"].as_u64().unwrap(), text(&result["id"]));
        self.record.duplicates += usize::from(result["duplicate"] == true);
        self.record.acks.push(Ack { room, client, idem, offset, id });
        self.world.acknowledged.send_modify(|count| *count += 1);
    }

    fn has_seen_everything(&self) -> bool {
        let Some(heads) = self.world.heads.borrow().clone() else { return false };
        let there = |(room, place): (&Name, &Option<(u64, String)>)| {
            place.as_ref().is_some_and(|(offset, _)| *offset >= heads[room])
        };
        self.places.iter().all(there)
    }
}

impl Asked {
    const fn message(&self) -> Option<usize> {
        match self {
            Self::Publish(number) => Some(*number),
            Self::Connect | Self::Subscribe(_) => None,
        }
    }
}

/// An event as the checker compares it.
pub fn event(offset: u64, data: &Value) -> Event {
    let idem = data["idem"].as_str().map(str::to_owned);
    Event { offset, id: text(&data["id"]), idem, content: data.to_string() }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
