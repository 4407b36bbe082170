//! Redis is away, silent, or comes again.

use std::time::Duration;

use chassis::redis::Location;
use chassis::testing::{FaultProxy, Redis, deadline};
use chat_server::config::Config;
use serde_json::json;
use tokio::time::Instant;

use super::{count, has, in_a_room, is_away_for, reason, says, shows, two_nodes};
use crate::harness::{Backend, Stage};

/// A second to look, one to be silent, and what a loaded machine takes.
const NOTICED: Duration = Duration::from_secs(4);

/// Rooms that somebody enters one after the other.
const ROOMS: u32 = 20;

/// What that takes when each is waited for until the bus has answered, or half a second.
const WAITED: Duration = Duration::from_millis(500).saturating_mul(ROOMS);

#[tokio::test]
async fn a_node_alone_is_always_up() {
    let stage = Stage::start().await;
    assert!(has(&stage, "bus_up 1"));
    assert_eq!(reason(&stage).await, None);
    for series in [
        "bus_messages_total{direction=\"sent\"}",
        "bus_messages_total{direction=\"received\"}",
        "bus_lost_messages_total",
        "bus_malformed_messages_total",
    ] {
        assert_eq!(count(&stage, series), 0);
    }
}

#[tokio::test]
async fn a_node_starts_without_redis_and_finds_it_when_it_comes() {
    let redis = Redis::start().await;
    redis.kill();
    let first = Stage::node(Backend::Sqlite, &[("REDIS_URL", &redis.url())]).await;
    assert!(has(&first, "bus_up 0"));
    is_away_for(&first, "unreachable").await;
    let second = first.twin().await;
    redis.restart().await;
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    assert_eq!(reason(&first).await, None);
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    let sent = Instant::now();
    says(&mut ann, &mut bob, &room, "hi").await;
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
}

#[tokio::test]
async fn a_redis_that_was_killed_is_used_again_and_nothing_is_missed() {
    let redis = Redis::start().await;
    let first = Stage::node(Backend::Sqlite, &[("REDIS_URL", &redis.url())]).await;
    let second = first.twin().await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    says(&mut ann, &mut bob, &room, "before").await;
    redis.kill();
    is_away_for(&second, "unreachable").await;
    says(&mut ann, &mut bob, &room, "meanwhile").await;
    assert!(count(&first, "bus_lost_messages_total") > 0);
    redis.restart().await;
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    let sent = Instant::now();
    says(&mut ann, &mut bob, &room, "after").await;
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
}

#[tokio::test]
async fn a_redis_that_is_silent_is_noticed_and_nobody_waits_for_it() {
    let redis = Redis::start().await;
    let (first, second) = two_nodes(&[("REDIS_URL", &redis.url())]).await;
    let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
    let room = ann.create("public", &["bob"]).await;
    let mut rooms = vec![room.clone()];
    while rooms.len() < ROOMS as usize {
        rooms.push(ann.create("public", &["bob"]).await);
    }
    let silent = Instant::now();
    redis.pause();
    is_away_for(&first, "timeout").await;
    is_away_for(&second, "timeout").await;
    assert!(silent.elapsed() < NOTICED, "{:?}", silent.elapsed());
    // Known to be away it holds up nobody who enters or posts.
    let entered = Instant::now();
    for room in &rooms {
        bob.subscribe(&room.channel).await;
    }
    ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
    assert!(entered.elapsed() < WAITED / 2, "{:?}", entered.elapsed());
    assert_eq!(bob.hears(&room.channel).await["body"], "hi");
    redis.resume();
    shows(&first, "bus_up 1").await;
    shows(&second, "bus_up 1").await;
    says(&mut ann, &mut bob, &room, "again").await;
}

#[tokio::test]
async fn a_network_that_stalls_is_noticed_by_the_node_behind_it_only() {
    let redis = Redis::start().await;
    let proxy = FaultProxy::start(redis.address()).await;
    let url = redis.url_at(proxy.address());
    let first = Stage::node(Backend::Sqlite, &[("REDIS_URL", &redis.url())]).await;
    shows(&first, "bus_up 1").await;
    let change = |config: &mut Config| {
        config.nodes.as_mut().unwrap().redis.location = Location::parse(&url.into()).unwrap();
    };
    let second = first.twin_with(change).await;
    shows(&second, "bus_up 1").await;
    let (mut ann, mut bob, room) = in_a_room(&first, &second).await;
    ann.subscribe(&room.channel).await;
    proxy.stall();
    is_away_for(&second, "timeout").await;
    assert_eq!(reason(&first).await, None);
    says(&mut ann, &mut bob, &room, "through the store").await;
    says(&mut bob, &mut ann, &room, "and back").await;
    proxy.resume();
    shows(&second, "bus_up 1").await;
    says(&mut ann, &mut bob, &room, "again").await;
    proxy.cut();
    deadline(says(&mut bob, &mut ann, &room, "after a cut")).await;
}
