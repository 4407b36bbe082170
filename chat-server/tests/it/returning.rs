//! Many who come back at once cost the store little, and everyone gets all that they missed.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::rooms::Room;
use crate::harness::{Backend, Client, Stage, on_both_stores, token};

/// Who comes back in each test.
const CLIENTS: usize = 300;

/// What a node has asked of its store, by purpose.
fn queries(stage: &Stage) -> BTreeMap<String, u64> {
    let text = stage.telemetry.render();
    let counted = text.lines().filter_map(|line| {
        let (kind, count) = line.strip_prefix("store_queries_total{kind=\"")?.split_once("\"} ")?;
        Some((kind.to_owned(), count.parse().unwrap()))
    });
    counted.collect()
}

fn seen_up_to(offset: u64, epoch: &Value) -> Value {
    json!({ "recover": true, "offset": offset, "epoch": epoch })
}

/// Comes back with a position in one's own feed, and says what the reply told of it.
async fn back(stage: &Stage, user: &str, from: &Value) -> (Client, Value) {
    let mut client = stage.socket().await;
    let feed = format!("user:{user}");
    let connect = json!({ "token": token(user), "subs": { feed.clone(): from } });
    let reply = client.ask("connect", connect).await;
    let feed = reply["connect"]["subs"][feed].clone();
    assert!(feed.is_object(), "{reply}");
    (client, feed)
}

/// Comes back to a room and gives the offsets that were missed.
async fn recovered(client: &mut Client, room: &Room, offset: u64, epoch: &Value) -> Vec<u64> {
    let mut request = seen_up_to(offset, epoch);
    request["channel"] = json!(room.channel);
    let reply = client.ask("subscribe", request).await["subscribe"].clone();
    assert_eq!(reply["recovered"], true, "{reply}");
    offsets(&reply)
}

fn offsets(reply: &Value) -> Vec<u64> {
    let all = reply["publications"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

async fn say(client: &mut Client, room: &Room, count: u64) {
    for number in 0..count {
        let message = json!({ "type": "message", "body": format!("number {number}") });
        client.publish(&room.channel, message).await;
    }
}

/// What the store says of the life of its offsets.
async fn epoch(stage: &Stage) -> Value {
    back(stage, "nobody-yet", &json!({})).await.1["epoch"].clone()
}

/// Somebody who came just now: whoever comes next does not come alone.
async fn busy(stage: &Stage, epoch: &Value) -> Client {
    back(stage, "somebody", &seen_up_to(0, epoch)).await.0
}

on_both_stores! {
    async fn hundreds_who_come_back_to_a_room_of_a_new_node_are_a_few_queries(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let mut ann = first.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let epoch = ann.subscribe(&room.channel).await["epoch"].clone();
        say(&mut ann, &room, 60).await;
        let second = first.twin().await;
        let before = queries(&second);
        let clients = (0..CLIENTS).map(async |number| {
            let user = format!("user-{number}");
            let (mut client, feed) = back(&second, &user, &seen_up_to(0, &epoch)).await;
            assert_eq!(feed["recovered"], true, "{feed}");
            let missed = recovered(&mut client, &room, 21 + number as u64 % 10, &epoch).await;
            assert!(missed.iter().copied().eq(22 + number as u64 % 10..=61), "{missed:?}");
            client
        });
        let mut clients = join_all(clients).await;
        let after = queries(&second);
        let asked = |kind: &str| after[kind] - before[kind];
        assert_eq!(asked("room"), 1, "everybody in the room: {after:?}");
        assert!(asked("page") <= 2, "what was missed: {after:?}");
        assert!(asked("standing") <= 15, "until somebody is in the room: {after:?}");
        // One for the room, one for who came first, and feeds every two seconds.
        assert!(asked("head") <= 15, "where logs stand: {after:?}");
        say(&mut ann, &room, 1).await;
        for client in &mut clients {
            assert_eq!(client.publication().await["offset"], 62);
        }
    }

    async fn what_was_missed_in_a_feed_comes_after_its_readers_word(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let mut ann = first.connect("ann").await;
        let epoch = epoch(&first).await;
        let second = first.twin().await;
        let room = ann.create("public", &["bob"]).await;
        for _ in 0..2 {
            ann.call("member.mute", room.with("bob")).await;
            ann.call("member.unmute", room.with("bob")).await;
        }
        let _somebody = busy(&second, &epoch).await;
        let (mut phone, feed) = back(&second, "bob", &seen_up_to(1, &epoch)).await;
        assert_eq!((&feed["recovered"], &feed["offset"]), (&json!(true), &json!(1)), "{feed}");
        // Another device knows more, and a third one nothing.
        let (mut laptop, feed) = back(&second, "bob", &seen_up_to(3, &epoch)).await;
        assert_eq!(feed["recovered"], true, "{feed}");
        let mut known = offsets(&feed);
        let (_new, feed) = back(&second, "bob", &json!({})).await;
        assert!(feed["offset"].as_u64().unwrap() <= 5, "{feed}");
        for offset in 2..=5 {
            assert_eq!(phone.publication().await["offset"], offset);
        }
        while known.last() != Some(&5) {
            known.push(laptop.publication().await["offset"].as_u64().unwrap());
        }
        assert_eq!(known, [4, 5]);
        ann.call("member.kick", room.with("bob")).await;
        for device in [&mut phone, &mut laptop] {
            assert_eq!(device.publication().await["offset"], 6);
        }
    }

    async fn who_makes_up_a_position_comes_again_and_nobody_else_does(backend: Backend) {
        let stage = Stage::node(backend, &[]).await;
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let before = ann.subscribe(&room.channel).await["epoch"].clone();
        for offset in [1, 1_000_000_000_000_000] {
            let from = seen_up_to(offset, &before);
            let mut liar = format!("liar-{offset}");
            let mut client = loop {
                let (client, feed) = back(&stage, &liar, &from).await;
                if feed["recovered"] == true {
                    break client;
                }
                // Who comes alone is not believed.
                liar += "-and-another";
            };
            assert_eq!(client.closed().await, 3010);
            // Not for ever in a circle: now it is asked.
            let (_client, feed) = back(&stage, &liar, &from).await;
            assert_eq!((&feed["was_recovering"], &feed["offset"]), (&json!(true), &Value::Null));
            assert!(feed["recovered"].is_null(), "{feed}");
        }
        let (_client, feed) = back(&stage, "liar-3", &seen_up_to(u64::MAX, &before)).await;
        assert!(feed["recovered"].is_null(), "{feed}");
        assert_eq!(epoch(&stage).await, before, "the lives of offsets are none of theirs");
        say(&mut ann, &room, 1).await;
        assert_eq!(ann.hears(&room.channel).await["body"], "number 0");
    }

    async fn who_missed_hundreds_in_a_feed_comes_again_and_gets_them_all(backend: Backend) {
        let first = Stage::node(backend, &[("COMMAND_RATE", "100000")]).await;
        let mut ann = first.connect("ann").await;
        let epoch = epoch(&first).await;
        let room = ann.create("public", &["bob"]).await;
        for _ in 0..150 {
            ann.call("member.mute", room.with("bob")).await;
            ann.call("member.unmute", room.with("bob")).await;
        }
        let second = first.twin().await;
        let _somebody = busy(&second, &epoch).await;
        let from = seen_up_to(1, &epoch);
        let (mut bob, feed) = back(&second, "bob", &from).await;
        assert_eq!(feed["recovered"], true, "{feed}");
        assert_eq!(bob.closed().await, 3010);
        let (mut bob, feed) = back(&second, "bob", &from).await;
        assert_eq!(feed["recovered"], true, "{feed}");
        let mut known = offsets(&feed);
        while known.last() != Some(&301) {
            known.push(bob.publication().await["offset"].as_u64().unwrap());
        }
        assert!(known.into_iter().eq(2..=301));
    }

    async fn who_is_what_is_known_without_asking_and_follows_what_happens(backend: Backend) {
        let first = Stage::node(backend, &[("COMMAND_RATE", "100000")]).await;
        let second = first.twin().await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        bob.subscribe(&room.channel).await;
        say(&mut bob, &room, 1).await;
        let before = queries(&second);
        ann.call("member.mute", room.with("bob")).await;
        while bob.hears(&room.channel).await["change"] != "muted" {}
        let message = json!({ "channel": room.channel, "data": { "type": "message", "body": "no" } });
        assert_eq!(bob.refused("publish", message).await["reason"], "muted");
        ann.call("member.unmute", room.with("bob")).await;
        bob.hears(&room.channel).await;
        say(&mut bob, &room, 1).await;
        // Longer than what is remembered of single people.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(1) {
            bob.ask("ping", json!({})).await;
        }
        say(&mut bob, &room, 1).await;
        let after = queries(&second);
        for kind in ["standing", "room"] {
            assert_eq!(after[kind], before[kind], "{kind}: {before:?} {after:?}");
        }
    }
}
