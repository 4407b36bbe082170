//! What our server may say, and what is made of it.

use std::collections::HashSet;

use serde_json::Value;

use super::*;

fn dialect(kind: Kind) -> Veza {
    Veza::new(&Settings { secret: "a secret of thirty-two characters".to_owned(), kind, run: 7 })
}

const SEAT: Seat<'static> = Seat { number: 12, room: 3, user: 1, channel: "room:r" };

fn hear(kind: Kind, message: &str) -> Heard {
    let mut heard = Heard::default();
    dialect(kind).hear(message.as_bytes(), &mut heard);
    heard
}

/// The text of a frame that a client wrote.
fn text(frame: &[u8]) -> &str {
    let head = match frame[1] & 0x7f {
        126 => 8,
        _ => 6,
    };
    str::from_utf8(&frame[head..]).unwrap()
}

fn push(kind: Kind, number: u32, offset: u64) -> String {
    let mut frame = Vec::new();
    dialect(kind).publish(&SEAT, Stamp { due: 1_000, number }, 100, &mut frame);
    // As it stands there: a server passes it on without looking into it.
    let (_, data) = text(&frame).split_once("\"data\":").unwrap();
    let data = data.strip_suffix("}}").unwrap();
    format!(
        r#"{{"push":{{"channel":"room:r","pub":{{"data":{data},"offset":{offset},"time":1}}}}}}"#
    )
}

#[test]
fn what_is_published_is_heard_with_its_offset_in_rooms_and_elsewhere() {
    for kind in [Kind::Room, Kind::Plain] {
        let lines = [push(kind, 1, 41), "{}".to_owned(), push(kind, 2, 42)].join("\n");
        let heard = hear(kind, &lines);
        let seen = |number, offset| Sighting { stamp: Stamp { due: 1_000, number }, offset };
        assert_eq!(heard.sightings, [seen(1, 41), seen(2, 42)], "{kind:?}");
        assert_eq!(heard.answer, [0x81, 0x82, 0, 0, 0, 0, b'{', b'}']);
    }
}

#[test]
fn who_returns_says_where_they_were_and_hears_what_they_missed() {
    let mut frame = Vec::new();
    let since = Position { epoch: "e".to_owned(), offset: 40 };
    dialect(Kind::Plain).greet(&SEAT, Some(&since), &mut frame);
    let commands: Vec<Value> =
        text(&frame).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(commands[0]["connect"]["token"].is_string());
    let wanted = serde_json::json!({ "channel": "room:r", "recover": true, "offset": 40,
                                     "epoch": "e" });
    assert_eq!(commands[1]["subscribe"], wanted);
    let missed = [push(Kind::Plain, 5, 41), push(Kind::Plain, 6, 42)];
    let missed = missed.map(|line| {
        let (_, publication) = line.split_once("\"pub\":").unwrap();
        publication.strip_suffix("}}").unwrap().to_owned()
    });
    let heard = hear(
        Kind::Plain,
        &format!(
            "{{\"id\":1,\"connect\":{{\"client\":\"c\"}}}}\n{{\"id\":2,\"subscribe\":{{\
             \"epoch\":\"e\",\"offset\":42,\"recovered\":true,\"publications\":[{}]}}}}",
            missed.join(",")
        ),
    );
    assert_eq!(heard.entered, Some(Position { epoch: "e".to_owned(), offset: 42 }));
    let seen: Vec<u64> = heard.sightings.iter().map(|seen| seen.offset).collect();
    assert_eq!((seen, heard.over), (vec![41, 42], None));
}

#[test]
fn answers_are_counted_and_refusals_say_why() {
    let heard = hear(
        Kind::Room,
        "{\"id\":3,\"publish\":{\"offset\":3,\"epoch\":\"e\",\"status\":\"accepted\"}}\n\
         {\"id\":3,\"error\":{\"code\":503,\"message\":\"store unavailable\",\"reason\":\
         \"store_down\",\"temporary\":true}}",
    );
    assert_eq!((heard.accepted, heard.refused), (1, 1));
    assert_eq!(heard.complaint.as_deref(), Some("503 store unavailable store_down"));
    let heard = hear(Kind::Room, r#"{"id":2,"error":{"code":102,"message":"unknown channel"}}"#);
    assert_eq!(heard.over.as_deref(), Some("102 unknown channel "));
    assert_eq!(heard.entered, None);
}

#[test]
fn the_end_of_a_subscription_or_a_connection_is_an_end() {
    for line in [
        r#"{"push":{"channel":"room:r","unsubscribe":{"code":2500}}}"#,
        r#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#,
        r#"{"id":2,"subscribe":{"epoch":5}}"#,
    ] {
        assert!(hear(Kind::Room, line).over.is_some(), "{line}");
    }
    assert!(hear(Kind::Room, r#"{"push":{"channel":"user:u1","pub":{"data":{}}}}"#).over.is_none());
}

#[test]
fn every_message_of_every_run_has_a_uuid_of_its_own() {
    let numbers = [0, 1, 0xff, 0x0100_0000, u32::MAX];
    let all: HashSet<String> = numbers
        .iter()
        .flat_map(|run| numbers.iter().map(move |room| (*run, *room)))
        .flat_map(|(run, room)| numbers.iter().map(move |number| idem(run, room, *number)))
        .collect();
    assert_eq!(all.len(), 125);
    assert!(all.iter().all(|idem| uuid::Uuid::parse_str(idem).is_ok()));
}
