//! A client against frames that a server may send: how it resumes, repeats and waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Kind, Leave, Line, Person};
use crate::check::Name;
use crate::check::world::World;

const ROOM: &str = "room:r";
const PLAIN: &str = "plain:p";

/// A client of one room and one plain channel, with a message for each, due at once.
fn person() -> (Person, Arc<World>) {
    let world = Arc::new(World::new(vec![([127, 0, 0, 1], 1).into()]));
    let channels: [(Name, Kind); 2] = [(ROOM.into(), Kind::Room), (PLAIN.into(), Kind::Plain)];
    let line = |place| Line { place, due: Duration::ZERO, idem: Uuid::new_v4(), begun: None };
    let person = Person::new(Arc::clone(&world), "c0", &channels, vec![line(0), line(1)]);
    (person, world)
}

/// The commands of a frame.
fn commands(frame: &str) -> Vec<Value> {
    frame.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Lets the client connect; its room is at 5, its plain channel at 2.
fn let_in(person: &mut Person) {
    let greeting = commands(&person.greet(0, Instant::now()));
    assert_eq!(greeting.len(), 3, "{greeting:?}");
    hear(
        person,
        &[
            r#"{"id":1,"connect":{"client":"x1","ping":5}}"#,
            r#"{"id":2,"subscribe":{"epoch":"e","offset":5}}"#,
            r#"{"id":3,"subscribe":{"epoch":"p","offset":2}}"#,
        ],
    );
}

fn hear(person: &mut Person, lines: &[&str]) {
    person.hear(&lines.join("\n"), Instant::now()).unwrap();
}

/// What the client publishes now: id, channel and data.
fn published(person: &mut Person) -> Vec<(u64, String, Value)> {
    let frame = person.speak(Instant::now()).unwrap_or_default();
    let publishes = commands(&frame).into_iter().filter(|command| command["publish"].is_object());
    let publishes = publishes.map(|command| {
        let channel = command["publish"]["channel"].as_str().unwrap().to_owned();
        (command["id"].as_u64().unwrap(), channel, command["publish"]["data"].clone())
    });
    publishes.collect()
}

#[tokio::test]
async fn it_connects_and_subscribes_with_one_frame_and_says_nothing_before() {
    let (mut person, world) = person();
    world.begin();
    let greeting = commands(&person.greet(0, Instant::now()));
    assert!(greeting[0]["connect"]["token"].is_string());
    assert_eq!(greeting[1], json!({ "id": 2, "subscribe": { "channel": ROOM } }));
    assert_eq!(greeting[2], json!({ "id": 3, "subscribe": { "channel": PLAIN } }));
    assert_eq!(person.speak(Instant::now()), None);
    hear(&mut person, &[r#"{"id":1,"connect":{"client":"x1","ping":5}}"#]);
    assert_eq!(published(&mut person).len(), 2);
}

#[tokio::test]
async fn it_says_nothing_before_everyone_is_there() {
    let (mut person, world) = person();
    let_in(&mut person);
    assert_eq!(published(&mut person), []);
    world.begin();
    assert_eq!(published(&mut person).len(), 2);
}

#[tokio::test]
async fn it_comes_back_from_the_last_offset_it_has() {
    let (mut person, _world) = person();
    let_in(&mut person);
    hear(
        &mut person,
        &[
            r#"{"push":{"channel":"room:r","pub":{"offset":6,"data":{"type":"message"}}}}"#,
            r#"{"push":{"channel":"room:r","pub":{"data":{"type":"typing"}}}}"#,
        ],
    );
    person.hang_up();
    let greeting = commands(&person.greet(0, Instant::now()));
    let wanted = json!({ "channel": ROOM, "recover": true, "offset": 6, "epoch": "e" });
    assert_eq!(greeting[1]["subscribe"], wanted);
    let wanted = json!({ "channel": PLAIN, "recover": true, "offset": 2, "epoch": "p" });
    assert_eq!(greeting[2]["subscribe"], wanted);
    hear(
        &mut person,
        &[
            r#"{"id":1,"connect":{"client":"x2"}}"#,
            r#"{"id":2,"subscribe":{"epoch":"e","offset":8,"recovered":true,"publications":[
            {"offset":7,"data":1},{"offset":8,"data":2}]}}"#
                .replace('\n', "")
                .as_str(),
        ],
    );
    let record = person.finish();
    let room = &record.places[0];
    let seen: Vec<u64> = room.stays[0].seen.iter().map(|glimpse| glimpse.offset).collect();
    assert_eq!((room.stays[0].after, seen, room.recoveries), (5, vec![6, 7, 8], 1));
    assert!(record.odd.is_empty(), "{:?}", record.odd);
}

#[tokio::test]
async fn it_repeats_what_was_not_answered_with_the_same_key_in_a_room_only() {
    let (mut person, world) = person();
    world.begin();
    let_in(&mut person);
    let first = published(&mut person);
    person.hang_up();
    let_in_again(&mut person);
    let second = published(&mut person);
    let of = |said: &[(u64, String, Value)], channel: &str| {
        said.iter().find(|one| one.1 == channel).unwrap().2.clone()
    };
    assert_eq!(of(&first, ROOM), of(&second, ROOM));
    assert_ne!(of(&first, PLAIN)["idem"], of(&second, PLAIN)["idem"]);
    assert!(!person.has_said_everything());
    let reply =
        |id, more: &str| format!(r#"{{"id":{id},"publish":{{"offset":9,"epoch":"e"{more}}}}}"#);
    for (id, channel, _) in second {
        let more = if channel == ROOM { r#","id":"m","duplicate":true"# } else { "" };
        hear(&mut person, &[&reply(id, more)]);
    }
    assert!(person.has_said_everything());
    let record = person.finish();
    assert_eq!((record.acks.len(), record.plain_acks.len(), record.duplicates), (1, 1, 1));
    assert_eq!(record.acks[0].idem, of(&first, ROOM)["idem"].as_str().unwrap());
}

/// A second connection, where the first one was at.
fn let_in_again(person: &mut Person) {
    person.greet(0, Instant::now());
    hear(
        person,
        &[
            r#"{"id":1,"connect":{"client":"x2","ping":5}}"#,
            r#"{"id":2,"subscribe":{"epoch":"e","offset":5,"recovered":true}}"#,
            r#"{"id":3,"subscribe":{"epoch":"p","offset":2,"recovered":true}}"#,
        ],
    );
}

#[tokio::test(start_paused = true)]
async fn it_waits_as_long_as_a_refusal_says_and_says_it_again() {
    let (mut person, world) = person();
    world.begin();
    let_in(&mut person);
    let said = published(&mut person);
    let room = said.iter().find(|one| one.1 == ROOM).unwrap().0;
    let refusal = json!({ "id": room, "error": { "code": 503, "reason": "store_down",
        "temporary": true, "retry_after_ms": 400 } });
    hear(&mut person, &[&refusal.to_string()]);
    assert_eq!(published(&mut person), []);
    tokio::time::advance(Duration::from_millis(399)).await;
    assert_eq!(published(&mut person), []);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(published(&mut person).len(), 1);
    assert_eq!(world.figures.refusals(), [("503 store_down".to_owned(), 1)].into());
}

#[tokio::test]
async fn it_subscribes_again_from_2500_and_stays_away_below() {
    let (mut person, _world) = person();
    let_in(&mut person);
    hear(
        &mut person,
        &[
            r#"{"push":{"channel":"room:r","unsubscribe":{"code":2500}}}"#,
            r#"{"push":{"channel":"plain:p","unsubscribe":{"code":2000}}}"#,
        ],
    );
    let again = commands(&person.speak(Instant::now()).unwrap());
    assert_eq!(again.len(), 1, "{again:?}");
    let wanted = json!({ "channel": ROOM, "recover": true, "offset": 5, "epoch": "e" });
    assert_eq!(again[0]["subscribe"], wanted);
    let record = person.finish();
    assert_eq!(record.odd.len(), 1);
    assert!(record.odd[0].to_string().contains("put out for good with 2000"), "{:?}", record.odd);
}

#[tokio::test]
async fn a_position_that_is_not_recovered_is_wrong_in_a_room_and_begins_anew_elsewhere() {
    let (mut person, _world) = person();
    let_in(&mut person);
    person.hang_up();
    person.greet(0, Instant::now());
    hear(
        &mut person,
        &[
            r#"{"id":1,"connect":{"client":"x2"}}"#,
            r#"{"id":2,"subscribe":{"epoch":"other","offset":1}}"#,
            r#"{"id":3,"subscribe":{"epoch":"other","offset":1}}"#,
        ],
    );
    let record = person.finish();
    assert_eq!(record.places[1].stays.len(), 2);
    let odd: Vec<String> = record.odd.iter().map(ToString::to_string).collect();
    assert_eq!(odd.len(), 1, "{odd:?}");
    let wanted = "channel room:r: not recovered from 5 of e, but put at 1 of other";
    assert!(odd[0].ends_with(wanted), "{odd:?}");
}

#[tokio::test]
async fn it_answers_pings_and_leaves_when_it_is_told_that_the_connection_ends() {
    let (mut person, _world) = person();
    let_in(&mut person);
    hear(&mut person, &["{}"]);
    assert_eq!(person.speak(Instant::now()).as_deref(), Some("{}"));
    let told = r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#;
    assert_eq!(person.hear(told, Instant::now()), Err(Leave("disconnected")));
}

#[tokio::test(start_paused = true)]
async fn a_command_without_an_answer_for_five_seconds_ends_the_connection() {
    let (mut person, world) = person();
    world.begin();
    let_in(&mut person);
    published(&mut person);
    tokio::time::advance(Duration::from_millis(4_999)).await;
    assert_eq!(person.mind(Instant::now()), Ok(()));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(person.mind(Instant::now()), Err(Leave("unanswered")));
    assert_eq!(person.finish().unanswered.len(), 1);
}

#[tokio::test]
async fn it_is_done_when_it_stands_at_the_head_of_every_channel_and_all_is_said() {
    let (mut person, world) = person();
    let_in(&mut person);
    let head =
        |channel: &str, epoch: &str, offset| (Name::from(channel), (epoch.to_owned(), offset));
    let heads = |offset| HashMap::from([head(ROOM, "e", offset), head(PLAIN, "p", 2)]);
    assert!(!person.is_done(&heads(5)), "it has something to say");
    world.begin();
    for (id, _, _) in published(&mut person) {
        hear(&mut person, &[&format!(r#"{{"id":{id},"publish":{{"offset":6,"epoch":"e"}}}}"#)]);
    }
    assert!(person.is_done(&heads(5)));
    assert!(!person.is_done(&heads(6)));
    let push = r#"{"push":{"channel":"room:r","pub":{"offset":6,"data":{}}}}"#;
    hear(&mut person, &[push]);
    assert!(person.is_done(&heads(6)));
}
