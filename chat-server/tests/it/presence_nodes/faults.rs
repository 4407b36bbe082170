//! Presence is the truth again soon after Redis was flushed, killed or paused, and after a node
//! could not reach it.

use std::time::Duration;

use chassis::redis::Location;
use chassis::redis::commands::{Client as RedisClient, cmd};
use chassis::testing::{FaultProxy, Redis};
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use super::{comes_to, node, of, truth, unkept};
use crate::harness::{Client, Stage};

/// Longer than a lease.
const LONG: Duration = Duration::from_secs(8);

/// A Redis of one's own, two nodes on it, and people on both.
struct Scene {
    redis: Redis,
    proxy: FaultProxy,
    first: Stage,
    second: Stage,
    ann: Client,
    bob: Client,
    _channels: tempfile::NamedTempFile,
}

impl Scene {
    /// The second node reaches Redis through the proxy.
    async fn set() -> Self {
        let redis = Redis::start().await;
        let proxy = FaultProxy::start(redis.address()).await;
        let url = redis.url();
        let channels = unkept();
        let path = channels.path().to_str().unwrap();
        let first = node(&[("REDIS_URL", &url), ("CHANNELS_FILE", path)]).await;
        let behind = Location::parse(&redis.url_at(proxy.address()).into()).unwrap();
        let second =
            first.twin_with(|config| config.nodes.as_mut().unwrap().redis.location = behind).await;
        let (mut ann, mut bob) = (first.connect("ann").await, second.connect("bob").await);
        ann.subscribe("lobby").await;
        bob.subscribe("lobby").await;
        ann.expect(of("join", "bob")).await;
        Self { redis, proxy, first, second, ann, bob, _channels: channels }
    }

    /// Some come and some go while something is wrong; every command is answered all the same.
    async fn live_on(&mut self) -> [Client; 2] {
        let mut ticks = interval(Duration::from_secs(1));
        let (mut sue, mut tom) =
            (self.first.connect("sue").await, self.second.connect("tom").await);
        let begun = Instant::now();
        while begun.elapsed() < LONG {
            ticks.tick().await;
            let asked = Instant::now();
            for client in [&mut sue, &mut tom] {
                client.subscribe("lobby").await;
                truth(client, "lobby").await;
                client.ask("unsubscribe", json!({ "channel": "lobby" })).await;
            }
            assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
        }
        sue.subscribe("lobby").await;
        self.ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
        [sue, tom]
    }

    /// What became of it is the same on both nodes.
    async fn is_settled(&mut self, others: &mut [Client; 2]) {
        for client in [&mut self.ann, &mut self.bob].into_iter().chain(others) {
            let took = comes_to(client, "lobby", &["bob", "sue"]).await;
            assert!(took < Duration::from_secs(10), "{took:?}");
        }
    }
}

#[tokio::test]
async fn a_redis_that_was_flushed_is_filled_again_and_nobody_is_told_twice() {
    let mut scene = Scene::set().await;
    let client = RedisClient::open(scene.redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let () = cmd("FLUSHALL").query_async(&mut connection).await.unwrap();
    let mut sue = scene.second.connect("sue").await;
    sue.subscribe("lobby").await;
    for client in [&mut scene.ann, &mut scene.bob, &mut sue] {
        comes_to(client, "lobby", &["ann", "bob", "sue"]).await;
    }
    scene.ann.expect(of("join", "sue")).await;
    let again = |message: &Value| of("join", "bob")(message) || of("leave", "bob")(message);
    scene.ann.expect_none("bob was there all the time", again).await;
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_is_filled_again() {
    let mut scene = Scene::set().await;
    scene.redis.kill();
    let mut others = scene.live_on().await;
    scene.redis.restart().await;
    scene.is_settled(&mut others).await;
}

#[tokio::test]
async fn after_a_pause_of_redis_everyone_is_there_who_is_there() {
    let mut scene = Scene::set().await;
    scene.redis.pause();
    let mut others = scene.live_on().await;
    scene.redis.resume();
    scene.is_settled(&mut others).await;
    // No node was dead: nobody was told to be gone who was there.
    others[0].expect_none("bob was there", of("leave", "bob")).await;
    scene.ann.expect_none("bob was there", of("leave", "bob")).await;
}

#[tokio::test]
async fn a_node_that_cannot_reach_redis_counts_as_gone_until_it_can() {
    let mut scene = Scene::set().await;
    scene.proxy.stall();
    let begun = Instant::now();
    // By the other node, which is well, its people are gone.
    scene.ann.expect(of("leave", "bob")).await;
    comes_to(&mut scene.ann, "lobby", &["ann"]).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    // Itself, it goes by what it knows.
    assert_eq!(truth(&mut scene.bob, "lobby").await.2, ["bob"]);
    let mut others = scene.live_on().await;
    scene.proxy.resume();
    scene.is_settled(&mut others).await;
    // Who was told to be gone is told to be there.
    others[0].expect(of("join", "bob")).await;
}
