//! Redis that is flushed, killed, paused, full, or loses what was said.

use std::cell::Cell;
use std::time::Duration;

use chassis::redis::Location;
use chassis::redis::commands::{self, FromRedisValue};
use chassis::testing::{FaultProxy, Redis, deadline};
use chat_server::protocol::Json;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Pair, hears, offsets, pair_at, say};
use crate::harness::{Client, Stage, eventually};

/// Everything is kept for as long as a test takes.
pub(super) const KEEPS: &str = "history_size = 100\nhistory_ttl = \"5m\"\nforce_recovery = true\n";

pub(super) const PREFIX: &str = "veza";

/// Asks a Redis, past the server.
pub(super) async fn ask<T: FromRedisValue>(redis: &Redis, words: &[&str]) -> T {
    let client = commands::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = commands::cmd(words[0]);
    command.arg(&words[1..]).query_async(&mut connection).await.unwrap()
}

async fn pair_on(redis: &Redis) -> Pair {
    pair_at(&redis.url(), PREFIX, KEEPS).await
}

/// Comes into `on:1` again with what it knows, and gives what it is told.
async fn back(client: &mut Client, offset: u64, epoch: &Value) -> Value {
    let from = json!({ "channel": "on:1", "recover": true, "offset": offset, "epoch": epoch });
    let reply = client.ask("subscribe", from).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
    reply["subscribe"].clone()
}

/// The reason of a 503 that came in time and says when to try again.
pub(super) async fn unavailable(client: &mut Client, method: &str, channel: &str) -> String {
    let asked = Instant::now();
    let error = client.refused(method, json!({ "channel": channel, "data": 1, "limit": -1 })).await;
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert_eq!((&error["code"], &error["temporary"]), (&json!(503), &json!(true)), "{error}");
    assert!(error["retry_after_ms"].as_u64().unwrap() > 0);
    error["reason"].as_str().unwrap().to_owned()
}

/// Publishes until it is taken and gives the offset.
pub(super) async fn say_when_back(stage: &Stage, channel: &str) -> u64 {
    let (data, offset) = (Json::parse(b"\"back\"").unwrap(), Cell::new(0));
    eventually("something can be published again", async || {
        let published = stage.control.publish(channel, data.clone()).await;
        offset.set(published.as_ref().map_or(0, |position| position.offset));
        published.is_ok()
    })
    .await;
    offset.get()
}

/// Everyone in `on:1` is told to come again, and finds one new life there.
async fn everyone_comes_again(pair: &Pair, redis_is_lost: impl AsyncFnOnce()) {
    let Pair { first, second, .. } = pair;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    let mut eve = second.connect("eve").await;
    let before = ann.subscribe("on:1").await["epoch"].clone();
    bob.subscribe("on:1").await;
    assert_eq!(second.control.subscribe("eve", "on:1").await.here, 1);
    eve.push("subscribe").await;
    for _ in 0..3 {
        say(first, "on:1", "before").await;
    }
    for client in [&mut ann, &mut bob, &mut eve] {
        hears(client, 3).await;
    }
    redis_is_lost().await;
    for client in [&mut ann, &mut bob] {
        let push = client.push("unsubscribe").await;
        let found = (&push["channel"], &push["unsubscribe"]["code"]);
        assert_eq!(found, (&json!("on:1"), &json!(2500)));
    }
    assert_eq!(eve.closed().await, 3010, "SDKs do not come into a server's channels by themselves");
    let (here, there) = (back(&mut ann, 3, &before).await, back(&mut bob, 3, &before).await);
    assert_eq!(here["epoch"], there["epoch"]);
    assert_ne!(here["epoch"], before);
    for told in [&here, &there] {
        assert_eq!((&told["recovered"], &told["publications"]), (&Value::Null, &Value::Null));
    }
    let next = here["offset"].as_u64().unwrap_or(0) + 1;
    assert_eq!(say(second, "on:1", "after").await, next);
    for client in [&mut ann, &mut bob] {
        assert_eq!(hears(client, 1).await, [(next, json!("after"))], "and nothing in between");
    }
}

#[tokio::test]
async fn a_flushed_redis_begins_a_new_life_for_everyone() {
    let redis = Redis::start().await;
    let pair = pair_on(&redis).await;
    let flush = async || {
        ask::<()>(&redis, &["FLUSHALL"]).await;
        // Whoever publishes next finds it at once.
        assert_eq!(say(&pair.first, "on:1", "unheard").await, 1);
    };
    everyone_comes_again(&pair, flush).await;
}

#[tokio::test]
async fn who_comes_back_into_a_life_that_is_over_is_not_told_that_it_goes_on() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_on(&redis).await;
    let mut ann = first.connect("ann").await;
    let before = ann.subscribe("on:1").await["epoch"].clone();
    for _ in 0..3 {
        say(&first, "on:1", "before").await;
    }
    // There it is live now, and nothing of it is in memory.
    second.connect("bob").await.subscribe("on:1").await;
    let mut eve = second.connect("eve").await;
    ask::<()>(&redis, &["FLUSHALL"]).await;
    let from = json!({ "channel": "on:1", "recover": true, "offset": 1, "epoch": before });
    let told = deadline(async {
        loop {
            let reply = eve.ask("subscribe", from.clone()).await;
            if reply["error"]["reason"] != "epoch_over" {
                break reply["subscribe"].clone();
            }
        }
    });
    let told = told.await;
    assert!(told.is_object(), "{told}");
    assert_ne!(told["epoch"], before);
    assert_eq!(told["recovered"], Value::Null);
}

#[tokio::test]
async fn a_redis_that_was_killed_and_came_back_empty_begins_a_new_life() {
    let redis = Redis::start().await;
    let pair = pair_on(&redis).await;
    everyone_comes_again(&pair, async || redis.restart().await).await;
}

#[tokio::test]
async fn a_redis_that_came_back_with_less_than_was_known_begins_a_new_life() {
    let redis = Redis::start().await;
    let pair = pair_on(&redis).await;
    let lose = async || {
        let meta = format!("{PREFIX}:{{on:1}}:meta");
        ask::<()>(&redis, &["HSET", &meta, "offset", "1"]).await;
        assert_eq!(say(&pair.first, "on:1", "unheard").await, 1);
    };
    everyone_comes_again(&pair, lose).await;
}

#[tokio::test]
async fn an_offset_that_is_given_twice_begins_a_new_life() {
    let redis = Redis::start().await;
    let pair = pair_on(&redis).await;
    // Nobody is in the channel there: it cannot know that more was published.
    let third = pair.first.twin().await;
    let lose_the_last = async || {
        let (log, meta) = (format!("{PREFIX}:{{on:1}}:log"), format!("{PREFIX}:{{on:1}}:meta"));
        ask::<()>(&redis, &["DEL", &log]).await;
        ask::<()>(&redis, &["HSET", &meta, "offset", "2"]).await;
        assert_eq!(say(&third, "on:1", "another third").await, 3);
    };
    everyone_comes_again(&pair, lose_the_last).await;
}

/// Keeps one more publication and tells nobody, as if the bus had lost it.
async fn lose_one(redis: &Redis) {
    let lose = "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1][2]
        local next = redis.call('HINCRBY', KEYS[2], 'offset', 1)
        redis.call('XADD', KEYS[1], next .. '-0', unpack(last))";
    let (log, meta) = (format!("{PREFIX}:{{on:1}}:log"), format!("{PREFIX}:{{on:1}}:meta"));
    ask::<()>(redis, &["EVAL", lose, "2", &log, &meta]).await;
}

#[tokio::test]
async fn what_the_bus_loses_is_read_from_redis() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_on(&redis).await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    ann.subscribe("on:1").await;
    bob.subscribe("on:1").await;
    say(&first, "on:1", "said").await;
    lose_one(&redis).await;
    let lost = Instant::now();
    say(&first, "on:1", "next").await;
    let sequence = [(1, json!("said")), (2, json!("said")), (3, json!("next"))];
    for client in [&mut ann, &mut bob] {
        assert_eq!(hears(client, 3).await, sequence);
    }
    assert!(lost.elapsed() < Duration::from_secs(2), "a gap is not left for the next comparison");
    // Nothing comes after this one: only the comparison of positions finds it.
    lose_one(&redis).await;
    for client in [&mut ann, &mut bob] {
        assert_eq!(hears(client, 1).await, [(4, json!("next"))]);
    }
}

#[tokio::test]
async fn what_a_broken_connection_loses_is_read_again_in_plain_channels_and_feeds() {
    let redis = Redis::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let Pair { first, _channels, .. } = pair_on(&redis).await;
    let url = SecretString::from(redis.url_at(proxy.address()));
    let second = first.twin_with(|config| {
        let nodes = config.nodes.as_mut().unwrap();
        nodes.redis.location = Location::parse(&url).unwrap();
    });
    let second = second.await;
    let mut bob = second.connect("bob").await;
    bob.subscribe("on:1").await;
    for round in 0..3 {
        proxy.stall();
        // On their way to the second node, and never there.
        for number in 1..=20 {
            assert_eq!(say(&first, "on:1", number).await, round * 20 + number);
            assert_eq!(say(&first, "user:bob", number).await, round * 20 + number);
        }
        proxy.cut();
        proxy.resume();
        let wanted: Vec<_> = (1..=20).map(|number| (round * 20 + number, json!(number))).collect();
        for channel in ["on:1", "user:bob"] {
            let is_of = |message: &Value| {
                message["push"]["channel"] == channel && message["push"]["pub"].is_object()
            };
            let mut heard = Vec::new();
            while heard.len() < wanted.len() {
                let publication = bob.expect(is_of).await["push"]["pub"].clone();
                let offset = publication["offset"].as_u64().unwrap();
                heard.push((offset, publication["data"].clone()));
            }
            assert_eq!(heard, wanted, "{channel}");
        }
    }
}

#[tokio::test]
async fn a_gap_that_can_no_longer_be_read_sends_everyone_back() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_on(&redis).await;
    let mut bob = second.connect("bob").await;
    let joined = bob.subscribe("on:1").await;
    say(&first, "on:1", 1).await;
    assert_eq!(hears(&mut bob, 1).await, [(1, json!(1))]);
    lose_one(&redis).await;
    let log = format!("{PREFIX}:{{on:1}}:log");
    ask::<()>(&redis, &["XDEL", &log, "2-0"]).await;
    say(&first, "on:1", 3).await;
    assert_eq!(bob.push("unsubscribe").await["unsubscribe"]["code"], 2500);
    let back = back(&mut bob, 1, &joined["epoch"]).await;
    assert_eq!((&back["recovered"], &back["offset"]), (&Value::Null, &json!(3)));
    assert_eq!(back["epoch"], joined["epoch"], "offsets go on");
    say(&first, "on:1", 4).await;
    assert_eq!(hears(&mut bob, 1).await, [(4, json!(4))]);
}

#[tokio::test]
async fn without_redis_what_is_not_kept_is_heard_here_and_what_is_kept_is_refused() {
    let redis = Redis::start().await;
    let Pair { first, _channels, .. } = pair_on(&redis).await;
    let (mut ann, mut bob) = (first.connect("ann").await, first.connect("bob").await);
    for channel in ["on:1", "off:1"] {
        ann.subscribe(channel).await;
    }
    let joined = bob.subscribe("on:1").await;
    say(&first, "on:1", 1).await;
    hears(&mut ann, 1).await;
    hears(&mut bob, 1).await;
    redis.kill();
    bob.publish("off:1", json!("local")).await;
    assert_eq!(hears(&mut ann, 1).await, [(0, json!("local"))]);
    for _ in 0..3 {
        assert_eq!(unavailable(&mut bob, "publish", "on:1").await, "bus_down");
    }
    // What is live here is entered, recovered and read here.
    bob.ask("unsubscribe", json!({ "channel": "on:1" })).await;
    let again = back(&mut bob, 0, &joined["epoch"]).await;
    assert_eq!((&again["recovered"], offsets(&again["publications"])), (&json!(true), vec![1]));
    let page = bob.ask("history", json!({ "channel": "on:1", "limit": -1 })).await;
    assert_eq!(offsets(&page["history"]["publications"]), [1]);
    // Nothing is known of any other.
    assert_eq!(unavailable(&mut bob, "subscribe", "on:2").await, "bus_down");
    assert_eq!(unavailable(&mut bob, "history", "on:2").await, "bus_down");
    redis.restart().await;
    assert_eq!(say_when_back(&first, "on:2").await, 1);
}

#[tokio::test]
async fn a_redis_that_does_not_answer_is_a_refusal_in_time_and_then_at_once() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_on(&redis).await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    ann.subscribe("on:1").await;
    bob.subscribe("on:1").await;
    say(&first, "on:1", "before").await;
    redis.pause();
    assert_eq!(unavailable(&mut ann, "publish", "on:1").await, "bus_timeout");
    let asked = Instant::now();
    assert_eq!(unavailable(&mut ann, "publish", "on:1").await, "bus_timeout");
    assert!(asked.elapsed() < Duration::from_millis(200), "{:?}", asked.elapsed());
    redis.resume();
    // Some of what was refused was kept all the same: whatever it was, it is one sequence.
    let last = say_when_back(&first, "on:1").await;
    for client in [&mut ann, &mut bob] {
        let heard = hears(client, usize::try_from(last).unwrap()).await;
        let sequence: Vec<_> = heard.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(sequence, (1..=last).collect::<Vec<_>>());
        assert_eq!(heard.last(), Some(&(last, json!("back"))));
    }
}

#[tokio::test]
async fn a_full_redis_refuses_what_is_kept_and_nothing_else() {
    let redis = Redis::start().await;
    let Pair { first, _channels, .. } = pair_on(&redis).await;
    let mut ann = first.connect("ann").await;
    ann.subscribe("on:1").await;
    ann.subscribe("off:1").await;
    ask::<()>(&redis, &["CONFIG", "SET", "maxmemory", "1mb"]).await;
    assert_eq!(unavailable(&mut ann, "publish", "on:1").await, "bus_full");
    assert_eq!(unavailable(&mut ann, "subscribe", "on:2").await, "bus_full");
    ann.publish("off:1", json!(1)).await;
    ask::<()>(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(say_when_back(&first, "on:1").await, 1);
}

#[tokio::test]
async fn a_redis_that_may_not_write_refuses_until_it_may() {
    let redis = Redis::start().await;
    let Pair { first, _channels, .. } = pair_on(&redis).await;
    let mut ann = first.connect("ann").await;
    ann.subscribe("on:1").await;
    say(&first, "on:1", 1).await;
    ask::<()>(&redis, &["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(unavailable(&mut ann, "publish", "on:1").await, "bus_read_only");
    ask::<()>(&redis, &["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(say_when_back(&first, "on:1").await, 2);
}

#[tokio::test]
async fn nobody_is_told_to_come_again_while_a_channel_is_used_by_listeners_alone() {
    let redis = Redis::start().await;
    let Pair { first, _channels, .. } = pair_on(&redis).await;
    let mut ann = first.connect("ann").await;
    let joined = ann.subscribe("on:1").await;
    let meta = format!("{PREFIX}:{{on:1}}:meta");
    let kept_ms = async || ask::<i64>(&redis, &["PTTL", &meta]).await;
    let whole = kept_ms().await;
    assert!(whole > 3_600_000, "the history and an hour: {whole} ms");
    // What the script has asked, and nothing else asks.
    let compared = async || {
        let calls = ask::<String>(&redis, &["INFO", "commandstats"]).await;
        let calls = calls.lines().find_map(|line| line.strip_prefix("cmdstat_pttl:calls="));
        calls.map_or(0, |calls| calls.split(',').next().unwrap().parse::<u64>().unwrap())
    };
    let most = whole / 4 * 3;
    ask::<()>(&redis, &["PEXPIRE", &meta, &most.to_string()]).await;
    let before = compared().await;
    eventually("it was asked where it stands", async || compared().await > before).await;
    assert!(kept_ms().await <= most, "nothing is written while most of the time is left");
    ask::<()>(&redis, &["PEXPIRE", &meta, "60000"]).await;
    // Whoever listens asks where it stands every five seconds, which keeps it.
    eventually("its position is kept", async || kept_ms().await > 3_600_000).await;
    assert_eq!(ann.publish("on:1", json!(1)).await["epoch"], joined["epoch"]);
}

#[tokio::test]
async fn a_publish_needs_no_listener_on_its_node() {
    let redis = Redis::start().await;
    let Pair { first, second, _channels } = pair_on(&redis).await;
    let mut bob = second.connect("bob").await;
    bob.subscribe("on:1").await;
    let mut ann = first.connect("ann").await;
    for number in 1..=3 {
        assert_eq!(ann.publish("on:1", json!(number)).await["offset"], number);
    }
    assert_eq!(hears(&mut bob, 3).await.len(), 3);
    assert_eq!(listeners(&redis, "on:1").await, 1, "its node does not listen either");
}

/// How many nodes listen to a channel.
async fn listeners(redis: &Redis, channel: &str) -> u64 {
    let topic = format!("{PREFIX}:c:{{{channel}}}");
    let (_topic, count): (String, u64) = ask(redis, &["PUBSUB", "NUMSUB", &topic]).await;
    count
}
