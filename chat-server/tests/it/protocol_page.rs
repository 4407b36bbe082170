//! What docs/PROTOCOL.md shows of rooms, done with a server.
//!
//! Its chapters about rooms are one conversation: `json ann` is what Ann sends, `json to ann` what
//! she is sent, `json event` what she hears at some time. Everything is compared as it stands on
//! the page but for what differs from run to run: ids, the epoch and cursors have to be the same
//! wherever the page has the same, times and delays have to be some.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::harness::{Client, Stage, claims, unix};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROTOCOL.md");

/// Where the conversation begins and ends.
const CHAPTERS: [&str; 2] = ["\n## Rooms\n", "\n## When the store is away\n"];

const PEOPLE: [(&str, &str); 3] = [("ann", "Ann"), ("bob", "Bob"), ("cid", "Cid")];

/// Keys whose values are Unix milliseconds, and delays in milliseconds.
const TIMES: [&str; 5] = ["time", "edited_at", "deleted_at", "joined_at", "created_at"];
const DELAY: &str = "retry_after_ms";

/// Keys whose values are made up by the server, and no ids.
const MADE_UP: [&str; 2] = ["epoch", "next"];

/// What stands on the page, and what it is in this run.
#[derive(Debug, Clone, Default)]
struct Meanings(BTreeMap<String, String>);

/// The marked blocks of the chapters, in their order: what they are and their lines.
fn blocks(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, chapters) = page.split_once(CHAPTERS[0]).expect("there is a chapter about rooms");
    let (chapters, _) = chapters.split_once(CHAPTERS[1]).expect("and one behind the last of them");
    let blocks = chapters.split("```json ").skip(1).map(|block| {
        let block = block.split("```").next().unwrap();
        let mut lines = block.lines();
        (lines.next().unwrap(), lines.collect())
    });
    blocks.collect()
}

/// A line of the page that is JSON.
fn value(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

impl Meanings {
    /// What is sent for a line of the page; ids that a client makes up are the page's.
    fn sent(&mut self, line: &str) -> String {
        for word in line.split('"').filter(|word| word.parse::<Uuid>().is_ok()) {
            self.0.entry(word.to_owned()).or_insert_with(|| word.to_owned());
        }
        let replace = |line: String, (shown, real): (&String, &String)| line.replace(shown, real);
        self.0.iter().fold(line.to_owned(), replace)
    }

    /// Is this what the page shows? What the page shows for the first time gets its meaning.
    fn fit(&mut self, key: &str, shown: &Value, real: &Value) -> bool {
        match (shown, real) {
            (Value::Object(shown), Value::Object(real)) => self.fit_all(shown, real),
            (Value::Array(shown), Value::Array(real)) => {
                let mut pairs = shown.iter().zip(real);
                shown.len() == real.len() && pairs.all(|(shown, real)| self.fit(key, shown, real))
            }
            (Value::Number(_), Value::Number(real)) if TIMES.contains(&key) => {
                real.as_u64().is_some_and(|time| time / 1000 + 60 > unix() && time / 1000 <= unix())
            }
            (Value::Number(_), Value::Number(real)) if key == DELAY => real.as_u64() > Some(0),
            (Value::String(shown), Value::String(real)) => self.fit_text(key, shown, real),
            _ => shown == real,
        }
    }

    fn fit_all(&mut self, shown: &Map<String, Value>, real: &Map<String, Value>) -> bool {
        shown.len() == real.len()
            && shown
                .iter()
                .all(|(key, shown)| real.get(key).is_some_and(|real| self.fit(key, shown, real)))
    }

    fn fit_text(&mut self, key: &str, shown: &str, real: &str) -> bool {
        let without_prefix = |text| str::strip_prefix(text, "room:").unwrap_or(text).to_owned();
        let (id, meant) = (without_prefix(shown), without_prefix(real));
        let is_made_up = MADE_UP.contains(&key);
        if !is_made_up && (id.parse::<Uuid>().is_err() || meant.parse::<Uuid>().is_err()) {
            return shown == real;
        }
        let is_taken = |known: &str| self.0.iter().any(|(id, real)| real == known && *id != known);
        match self.0.get(&id) {
            Some(known) => *known == meant,
            None if id != meant && is_taken(&meant) => false,
            None => self.0.insert(id, meant).is_none(),
        }
    }

    /// The same, without a change where it does not fit.
    fn try_fit(&self, shown: &Value, real: &Value) -> Option<Self> {
        let mut meanings = self.clone();
        meanings.fit("", shown, real).then_some(meanings)
    }
}

/// The first message that is what the page shows.
async fn hear(client: &mut Client, meanings: &Meanings, shown: &Value) -> Meanings {
    let real = client.expect(|real| meanings.try_fit(shown, real).is_some()).await;
    meanings.try_fit(shown, &real).expect("it was just looked at")
}

/// The reply to a command, compared with what the page shows.
async fn reply(client: &mut Client, meanings: &Meanings, shown: &Value) -> Meanings {
    let real = client.expect(|real| real["id"] == shown["id"]).await;
    let fits = meanings.try_fit(shown, &real);
    fits.unwrap_or_else(|| panic!("the page shows\n{shown}\nthe server answered\n{real}"))
}

#[tokio::test]
async fn rooms_do_what_the_protocol_page_shows() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    let stage = Stage::start().await;
    let mut people = BTreeMap::new();
    for (user, name) in PEOPLE {
        let token = claims(json!({ "sub": user, "name": name, "exp": unix() + 3600 }));
        let mut client = stage.socket().await;
        client.ask("connect", json!({ "token": token })).await;
        people.insert(user, client);
    }
    let (mut meanings, mut events) = (Meanings::default(), Vec::new());
    for (what, lines) in blocks(&page) {
        if what == "event" {
            events.extend(lines.into_iter().map(value));
            continue;
        }
        let (hears, person) = what.strip_prefix("to ").map_or((false, what), |who| (true, who));
        let client = people.get_mut(person).unwrap_or_else(|| panic!("who is {what}?"));
        for line in lines {
            // Shown when it fails.
            eprintln!("{what}: {line}");
            if !hears {
                client.text(&meanings.sent(line)).await;
                continue;
            }
            let shown = value(line);
            meanings = match shown.get("push") {
                Some(_) => hear(client, &meanings, &shown).await,
                None => reply(client, &meanings, &shown).await,
            };
        }
    }
    let ann = people.get_mut("ann").unwrap();
    assert!(events.len() >= 6, "there is an example of each kind");
    for event in events {
        eprintln!("event: {event}");
        let is_shown = |real: &Value| {
            let data = &real["push"]["pub"]["data"];
            data.is_object() && meanings.try_fit(&event, data).is_some()
        };
        ann.expect(is_shown).await;
    }
}
