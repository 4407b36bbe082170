//! What nobody of ours has written into our keys, or said on our topics.

use chassis::redis::commands;
use chassis::testing::Redis;
use serde_json::json;

use super::faults::ask;
use super::{Pair, hears, offsets, page, pair_at, say};
use crate::harness::eventually;

const KEEPS: &str = "history_size = 100\nhistory_ttl = \"5m\"\nforce_recovery = true\n";
const LOG: &str = "veza:{on:1}:log";
const META: &str = "veza:{on:1}:meta";
const TOPIC: &str = "veza:c:{on:1}";

#[tokio::test]
async fn nonsense_in_the_keys_of_a_channel_ends_its_life_and_no_more() {
    let nonsense: [&[&[&str]]; 8] = [
        &[&["SET", META, "x"]],
        &[&["SET", LOG, "x"]],
        &[&["SET", META, "x"], &["RPUSH", LOG, "x"]],
        &[&["HSET", META, "epoch", "two words", "offset", "1"]],
        &[&["HSET", META, "offset", "-1"]],
        &[&["HSET", META, "offset", "99999999999999999999"]],
        &[&["HDEL", META, "epoch"]],
        &[&["XADD", LOG, "77-7", "a", "b"]],
    ];
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_at(&redis.url(), "veza", KEEPS).await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    for commands in nonsense {
        let before = bob.subscribe("on:1").await["epoch"].clone();
        say(&first, "on:1", "before").await;
        bob.publication().await;
        for command in commands {
            if command[0] != "HSET" && command[0] != "HDEL" && command[0] != "XADD" {
                ask::<()>(&redis, &["DEL", command[1]]).await;
            }
            ask::<commands::Value>(&redis, command).await;
        }
        let said = ann.publish("on:1", json!("after")).await;
        assert_eq!(said["offset"], 1, "{commands:?}");
        assert_ne!(said["epoch"], before);
        assert_eq!(bob.push("unsubscribe").await["unsubscribe"]["code"], 2500);
        let kept = page(&mut bob, "on:1", json!({ "limit": -1 })).await;
        assert_eq!((offsets(&kept["publications"]), &kept["epoch"]), (vec![1], &said["epoch"]));
    }
}

#[tokio::test]
async fn entries_that_are_none_of_ours_are_passed_over() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_at(&redis.url(), "veza", KEEPS).await;
    for number in 1..=2 {
        say(&first, "on:1", number).await;
    }
    for entry in [["2-5", "t", "1", "p", "x"], ["3-0", "t", "99999999999999", "p", "x"]] {
        let words: Vec<&str> = ["XADD", LOG].into_iter().chain(entry).collect();
        ask::<String>(&redis, &words).await;
    }
    ask::<()>(&redis, &["HSET", META, "offset", "3"]).await;
    assert_eq!(say(&first, "on:1", 4).await, 4);
    let mut bob = second.connect("bob").await;
    for (reverse, wanted) in [(false, [1, 2, 4]), (true, [4, 2, 1])] {
        let kept = page(&mut bob, "on:1", json!({ "limit": -1, "reverse": reverse })).await;
        assert_eq!(offsets(&kept["publications"]), wanted);
    }
    for (offset, recovered) in [(1, false), (2, false), (3, true)] {
        let from = json!({ "channel": "on:1", "recover": true, "offset": offset });
        let back = bob.ask("subscribe", from).await["subscribe"].clone();
        assert_eq!(back["recovered"].as_bool().unwrap_or(false), recovered, "from {offset}");
        bob.ask("unsubscribe", json!({ "channel": "on:1" })).await;
    }
}

#[tokio::test]
async fn what_nobody_of_ours_says_on_a_topic_is_not_heard() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_at(&redis.url(), "veza", KEEPS).await;
    let mut bob = second.connect("bob").await;
    bob.subscribe("on:1").await;
    let listens = async || ask::<(String, u64)>(&redis, &["PUBSUB", "NUMSUB", TOPIC]).await.1 == 1;
    eventually("the topic is listened to", listens).await;
    // A stamp of another life, of none, cut short; text; nothing.
    let stamped = "\u{1}\u{4}life\0\0\0\0\0\0\0\u{5}";
    for said in [stamped, "\u{1}", "\u{1}\u{0}", "\u{1}\u{7f}x", "hello", "", "{}"] {
        assert_eq!(ask::<u64>(&redis, &["PUBLISH", TOPIC, said]).await, 1);
    }
    say(&first, "on:1", "ours").await;
    assert_eq!(hears(&mut bob, 1).await, [(1, json!("ours"))]);
    bob.expect_none("nothing else", |message| message["push"].is_object()).await;
}
