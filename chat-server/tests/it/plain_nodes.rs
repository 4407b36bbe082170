//! Channels without a log are the same on every node.

mod cluster;
mod faults;
mod foreign;

use std::io::Write;
use std::time::Duration;

use chassis::testing::redis_url;
use chat_server::protocol::Json;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::{Backend, Client, Stage, on_both_stores};

/// Two nodes of one deployment.
struct Pair {
    first: Stage,
    second: Stage,
    _channels: Option<NamedTempFile>,
}

/// Two nodes with development's channels.
async fn pair() -> Pair {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    Pair { second: first.twin().await, first, _channels: None }
}

/// Two nodes with a namespace `on` that lets everyone do everything and has these options too.
async fn pair_with(options: &str) -> Pair {
    pair_at(&redis_url(), &format!("test-{}", Uuid::new_v4().simple()), options).await
}

/// The same on a Redis with a prefix, with channels of the namespace `off` that keep nothing.
async fn pair_at(redis: &str, prefix: &str, options: &str) -> Pair {
    let mut file = NamedTempFile::new().unwrap();
    let all = "allow_subscribe = true\nallow_publish = true\nallow_history = true\n";
    write!(file, "[namespaces.on]\n{all}{options}\n[namespaces.off]\n{all}").unwrap();
    let path = file.path().to_str().unwrap();
    let variables = [("REDIS_URL", redis), ("REDIS_PREFIX", prefix), ("CHANNELS_FILE", path)];
    let first = Stage::node(Backend::Sqlite, &variables).await;
    Pair { second: first.twin().await, first, _channels: Some(file) }
}

/// Says something as the platform's backend does and gives its offset.
async fn say(stage: &Stage, channel: &str, value: impl serde::Serialize) -> u64 {
    let data = Json::from_value(&value).unwrap();
    stage.control.publish(channel, data).await.unwrap().offset
}

fn offsets(publications: &Value) -> Vec<u64> {
    let all = publications.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

/// The next `count` publications: offset and data.
async fn hears(client: &mut Client, count: usize) -> Vec<(u64, Value)> {
    let mut heard = Vec::with_capacity(count);
    while heard.len() < count {
        let publication = client.publication().await;
        heard.push((publication["offset"].as_u64().unwrap_or(0), publication["data"].clone()));
    }
    heard
}

async fn page(client: &mut Client, channel: &str, mut request: Value) -> Value {
    request["channel"] = json!(channel);
    let reply = client.ask("history", request).await;
    assert!(reply["history"].is_object(), "{reply}");
    reply["history"].clone()
}

#[tokio::test]
async fn offsets_and_epoch_are_the_same_on_every_node() {
    let Pair { first, second, .. } = pair().await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    let (here, there) = (ann.subscribe("lobby").await, bob.subscribe("lobby").await);
    assert_eq!(here["epoch"], there["epoch"]);
    assert_eq!(here["epoch"].as_str().unwrap().len(), 8);
    let said = ann.publish("lobby", json!("from ann")).await;
    assert_eq!((&said["offset"], &said["epoch"]), (&json!(1), &here["epoch"]));
    assert_eq!(hears(&mut bob, 1).await, [(1, json!("from ann"))]);
    assert_eq!(bob.publish("lobby", json!("from bob")).await["offset"], 2);
    let both = [(1, json!("from ann")), (2, json!("from bob"))];
    assert_eq!(hears(&mut ann, 2).await, both);
    let publication = bob.publication().await;
    assert_eq!((&publication["offset"], &publication["info"]["user"]), (&json!(2), &json!("bob")));
}

#[tokio::test(flavor = "multi_thread")]
async fn publishers_on_two_nodes_make_one_sequence_for_everyone() {
    const EACH: u64 = 400;
    const PUBLISHERS: u64 = 6;
    let Pair { first, second, .. } = pair().await;
    let mut listeners = Vec::new();
    for number in 0..4 {
        let stage = if number % 2 == 0 { &first } else { &second };
        let mut listener = stage.connect(&format!("l{number}")).await;
        listener.subscribe("lobby").await;
        listeners.push(listener);
    }
    let publish = (0..PUBLISHERS).map(async |publisher| {
        let stage = if publisher % 2 == 0 { &first } else { &second };
        for number in 0..EACH {
            say(stage, "lobby", json!([publisher, number])).await;
        }
    });
    let publish = futures_util::future::join_all(publish);
    let count = usize::try_from(EACH * PUBLISHERS).unwrap();
    let listen = listeners.iter_mut().map(|listener| hears(listener, count));
    let (_, heard) = tokio::join!(publish, futures_util::future::join_all(listen));
    let wanted: Vec<u64> = (1..=EACH * PUBLISHERS).collect();
    for sequence in &heard {
        assert_eq!(sequence.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), wanted);
        assert_eq!(sequence, &heard[0], "everyone sees the same");
    }
    for publisher in 0..PUBLISHERS {
        let own = heard[0].iter().filter(|(_, data)| data[0] == publisher);
        let numbers: Vec<_> = own.map(|(_, data)| data[1].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..EACH).collect::<Vec<_>>(), "in the order of the publisher");
    }
    for listener in &mut listeners {
        listener.expect_none("a double", |message| message["push"]["pub"].is_object()).await;
    }
}

#[tokio::test]
async fn a_client_recovers_on_another_node_than_before() {
    let Pair { first, second, .. } = pair().await;
    let mut ann = first.connect("ann").await;
    let joined = ann.subscribe("lobby").await;
    drop(ann);
    for number in 1..=90 {
        say(&first, "lobby", number).await;
    }
    let mut ann = second.connect("ann").await;
    let from = json!({ "channel": "lobby", "recover": true, "epoch": joined["epoch"] });
    let back = ann.ask("subscribe", from).await["subscribe"].clone();
    assert_eq!((&back["recovered"], &back["epoch"]), (&json!(true), &joined["epoch"]));
    assert_eq!(offsets(&back["publications"]), (1..=90).collect::<Vec<_>>());
    assert_eq!(say(&first, "lobby", "new").await, 91);
    assert_eq!(hears(&mut ann, 1).await, [(91, json!("new"))]);
}

#[tokio::test]
async fn a_long_absence_is_made_up_for_page_by_page_on_another_node() {
    let options = "history_size = 3000\nhistory_ttl = \"5m\"\nforce_recovery = true\n";
    let Pair { first, second, _channels } = pair_with(options).await;
    let mut ann = first.connect("ann").await;
    let joined = ann.subscribe("on:1").await;
    drop(ann);
    let all = (1..=2000).map(|number| say(&first, "on:1", number));
    futures_util::future::join_all(all).await;
    let mut ann = second.connect("ann").await;
    let from = json!({ "channel": "on:1", "recover": true, "epoch": joined["epoch"] });
    let back = ann.ask("subscribe", from).await["subscribe"].clone();
    say(&first, "on:1", "new").await;
    assert_eq!(back["recovered"], true);
    let mut seen = offsets(&back["publications"]);
    assert!(seen.len() > 200 && seen.len() <= 256, "the first page: {}", seen.len());
    while seen.len() < 2001 {
        seen.push(ann.publication().await["offset"].as_u64().unwrap());
    }
    assert_eq!(seen, (1..=2001).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_no_longer_kept_is_not_recovered_on_any_node() {
    let Pair { first, second, .. } = pair().await;
    let mut ann = first.connect("ann").await;
    let joined = ann.subscribe("lobby").await;
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    // Development keeps a hundred.
    for number in 1..=101 {
        say(&first, "lobby", number).await;
    }
    for stage in [&first, &second] {
        let mut ann = stage.connect("ann").await;
        for (offset, recovered) in [(0, false), (1, true), (101, true), (102, false)] {
            let from = json!({ "channel": "lobby", "recover": true, "offset": offset,
                "epoch": joined["epoch"] });
            let back = ann.ask("subscribe", from).await["subscribe"].clone();
            assert_eq!(back["recovered"].as_bool().unwrap_or(false), recovered, "from {offset}");
            assert_eq!((&back["offset"], &back["epoch"]), (&json!(101), &joined["epoch"]));
            ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
        }
    }
}

#[tokio::test]
async fn pages_of_history_are_the_same_on_every_node() {
    let Pair { first, second, .. } = pair().await;
    let mut ann = first.connect("ann").await;
    ann.subscribe("lobby").await;
    for number in 1..=10 {
        say(&first, "lobby", number).await;
    }
    hears(&mut ann, 10).await;
    let mut bob = second.connect("bob").await;
    let since = |offset: u64| json!({ "offset": offset });
    for (request, wanted) in [
        (json!({ "limit": 3 }), vec![1, 2, 3]),
        (json!({ "limit": 3, "reverse": true }), vec![10, 9, 8]),
        (json!({ "limit": 3, "since": since(4) }), vec![5, 6, 7]),
        (json!({ "limit": 3, "since": since(4), "reverse": true }), vec![3, 2, 1]),
        (json!({ "limit": 3, "since": since(0), "reverse": true }), vec![]),
        (json!({ "limit": 3, "since": since(10) }), vec![]),
        (json!({ "limit": -1 }), (1..=10).collect()),
        (json!({}), vec![]),
    ] {
        let here = page(&mut ann, "lobby", request.clone()).await;
        assert_eq!(offsets(&here["publications"]), wanted, "{request}");
        assert_eq!(page(&mut bob, "lobby", request).await, here);
    }
    for since in [json!({ "offset": 11 }), json!({ "offset": 1, "epoch": "another" })] {
        let request = json!({ "channel": "lobby", "limit": 5, "since": since });
        assert_eq!(bob.refused("history", request).await["code"], 112, "{since}");
    }
    let empty = page(&mut bob, "nowhere", json!({ "limit": 5 })).await;
    assert_eq!((&empty["publications"], &empty["epoch"]), (&Value::Null, &Value::Null));
}

#[tokio::test]
async fn where_nothing_is_kept_every_node_still_hears_it() {
    let Pair { first, second, _channels } = pair_with("").await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    ann.subscribe("on:1").await;
    bob.subscribe("on:1").await;
    for number in 1..=3 {
        let said = bob.publish("on:1", json!(number)).await;
        assert_eq!(said["offset"], Value::Null);
        assert_eq!(hears(&mut ann, 1).await, [(0, json!(number))]);
        assert_eq!(hears(&mut bob, 1).await, [(0, json!(number))]);
    }
}

#[tokio::test]
async fn size_and_ttl_are_those_of_the_namespace() {
    let Pair { first, second, _channels } =
        pair_with("history_size = 3\nhistory_ttl = \"1s\"\n").await;
    for number in 1..=5 {
        say(&first, "on:1", number).await;
    }
    let mut bob = second.connect("bob").await;
    let kept = page(&mut bob, "on:1", json!({ "limit": -1 })).await;
    assert_eq!(offsets(&kept["publications"]), [3, 4, 5]);
    // Published again and again, so that the stream itself does not go.
    let mut last = 5;
    loop {
        last = last.max(say(&first, "on:1", "new").await);
        let kept = page(&mut bob, "on:1", json!({ "limit": -1, "reverse": true })).await;
        assert_eq!(offsets(&kept["publications"])[0], last);
        if !offsets(&kept["publications"]).contains(&5) {
            break;
        }
    }
    crate::harness::eventually("all of it is too old", async || {
        let mut bob = second.connect("bob").await;
        let kept = page(&mut bob, "on:1", json!({ "limit": -1 })).await;
        assert_eq!(kept["offset"], last, "the position stays");
        kept["publications"].is_null()
    })
    .await;
}

#[tokio::test]
async fn any_name_is_one_channel_on_every_node() {
    let Pair { first, second, .. } = pair().await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    let names = ["a{b}c", "{", "}", "{}", "%7B", "}{", "$x#y/z*?[]", "ünï¢ødé", "\\\"'"];
    for (number, name) in names.into_iter().enumerate() {
        let joined = bob.subscribe(name).await;
        ann.publish(name, json!(number)).await;
        let push = bob.push("pub").await;
        assert_eq!((&push["channel"], &push["pub"]["data"]), (&json!(name), &json!(number)));
        assert_eq!(push["pub"]["offset"], 1, "{name} is no other channel");
        let page = page(&mut ann, name, json!({ "limit": -1 })).await;
        assert_eq!((offsets(&page["publications"]), &page["epoch"]), (vec![1], &joined["epoch"]));
    }
}

on_both_stores! {
    async fn a_feed_is_heard_in_order_on_every_node(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let (mut phone, mut desk) = (second.connect("ann").await, second.connect("ann").await);
        let all = (1..=200).map(|number| say(&first, "user:ann", number));
        let mut offsets = futures_util::future::join_all(all).await;
        offsets.sort_unstable();
        assert_eq!(offsets, (1..=200).collect::<Vec<_>>());
        let heard = hears(&mut phone, 200).await;
        assert_eq!(heard.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), offsets);
        assert_eq!(hears(&mut desk, 200).await, heard);
    }

    async fn a_gap_in_a_feed_is_read_from_the_store(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        // Writes the same feed and tells nobody.
        let mute = first.twin_with(|config| config.nodes = None).await;
        let mut phone = second.connect("ann").await;
        let began = Instant::now();
        for stage in [&first, &mute, &first, &mute, &mute, &first] {
            say(stage, "user:ann", "something").await;
        }
        let heard = hears(&mut phone, 6).await;
        assert_eq!(heard.iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        // Long before positions are compared.
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }

    async fn who_types_and_who_has_read_is_seen_on_every_node(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        bob.subscribe(&room.channel).await;
        ann.subscribe(&room.channel).await;
        let said = json!({ "type": "message", "body": "hi" });
        let offset = ann.publish(&room.channel, said).await["offset"].clone();
        assert_eq!(bob.hears(&room.channel).await["body"], "hi");
        let typing = json!({ "typing": { "channel": room.channel, "on": true } });
        ann.text(&json!({ "send": { "data": typing } }).to_string()).await;
        let is = |kind: &'static str| {
            move |message: &Value| message["push"]["pub"]["data"]["type"] == kind
        };
        let typing = bob.expect(is("typing")).await["push"]["pub"].clone();
        assert_eq!((&typing["info"]["user"], &typing["offset"]), (&json!("ann"), &Value::Null));
        bob.call("read.mark", json!({ "room": room.id, "offset": offset })).await;
        let read = ann.expect(is("read")).await["push"]["pub"]["data"].clone();
        assert_eq!(read, json!({ "type": "read", "user": "bob", "offset": offset }));
    }
}
