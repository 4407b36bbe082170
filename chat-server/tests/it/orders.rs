//! What the platform's backend orders on one node reaches a person's connections on all of them.

use std::time::Duration;

use chassis::testing::{Redis, deadline};
use chat_server::control::{Elsewhere, Reached};
use chat_server::protocol::{DisconnectCode, Json, UnsubscribeCode};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{Backend, Client, Stage, on_both_stores, unix};

/// The promise.
const SOON: Duration = Duration::from_secs(1);

/// Every command is answered within this, whatever Redis does.
const ANSWERED: Duration = Duration::from_millis(3800);

fn json_of(value: &Value) -> Json {
    Json::from_value(value).unwrap()
}

/// What a caller learns who reached the other nodes too.
fn reached(here: usize) -> Reached {
    Reached { here, elsewhere: Elsewhere::Told }
}

/// A node on a Redis of the test's own.
async fn node(redis: &Redis) -> Stage {
    Stage::with(&[("REDIS_URL", &redis.url())]).await
}

/// Waits until a message to Ann gets from one node to the other.
async fn until_they_hear_each_other(from: &Stage, ann: &mut Client) {
    let hear = async {
        loop {
            from.control.send("ann", json_of(&json!("again"))).await;
            let heard = tokio::time::timeout(Duration::from_millis(100), ann.push("message"));
            if Box::pin(heard).await.is_ok() {
                return;
            }
        }
    };
    deadline(Box::pin(hear)).await;
}

on_both_stores! {
    async fn every_order_reaches_a_person_on_another_node_within_a_second(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let mut ann = second.connect("ann").await;
        let mut stream = second.sse("ann").await;
        let control = &first.control;

        let asked = Instant::now();
        assert_eq!(control.subscribe("ann", "lobby").await, reached(0));
        assert_eq!(ann.push("subscribe").await["channel"], "lobby");
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        stream.expect(|message| message["push"]["subscribe"].is_object()).await;

        let (asked, data) = (Instant::now(), json!({ "notice": "maintenance" }));
        assert_eq!(control.send("ann", json_of(&data)).await, reached(0));
        assert_eq!(ann.push("message").await["message"]["data"], data);
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());

        let asked = Instant::now();
        assert_eq!(control.refresh("ann", Some(unix() + 600)).await, reached(0));
        let ttl = ann.push("refresh").await["refresh"]["ttl"].as_u64().unwrap();
        assert!((590..=600).contains(&ttl), "{ttl}");
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());

        let asked = Instant::now();
        let code = UnsubscribeCode::InsufficientState;
        assert_eq!(control.unsubscribe("ann", "lobby", code).await, reached(0));
        assert_eq!(ann.push("unsubscribe").await["unsubscribe"]["code"], code.code());
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());

        let asked = Instant::now();
        let code = DisconnectCode::ForceReconnect;
        assert_eq!(control.disconnect("ann", code).await, reached(0));
        assert_eq!(u32::from(ann.closed().await), code.code());
        assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
        stream.expect(|message| message["push"]["disconnect"].is_object()).await;
    }

    async fn an_order_reaches_connections_here_and_elsewhere_and_nobody_else(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = first.twin().await;
        let (mut here, mut there) = (first.connect("ann").await, second.connect("ann").await);
        let mut bob = second.connect("bob").await;
        let other = Stage::node(backend, &[]).await;
        let mut stranger = other.connect("ann").await;
        assert_eq!(first.control.disconnect("ann", DisconnectCode::Forced).await, reached(1));
        assert_eq!((here.closed().await, there.closed().await), (3503, 3503));
        bob.ask("ping", json!({})).await;
        stranger.ask("ping", json!({})).await;
    }
}

#[tokio::test]
async fn an_order_given_after_the_answer_finds_the_youngest_connection() {
    let first = Stage::node(Backend::Sqlite, &[("MAX_CONNECTIONS_PER_USER", "100")]).await;
    let second = first.twin().await;
    for round in 0..40 {
        // Each is somebody new on that node: nothing of theirs was listened to before.
        let user = format!("user-{round}");
        let mut ann = second.connect(&user).await;
        let told = first.control.disconnect(&user, DisconnectCode::ForceReconnect).await;
        assert_eq!(told, reached(0));
        assert_eq!(ann.closed().await, 3011);
    }
    // Together with connections that come and go, so that listening begins and ends all the time.
    for _ in 0..20 {
        let (mut one, mut two) = tokio::join!(second.connect("ann"), second.connect("ann"));
        assert_eq!(first.control.disconnect("ann", DisconnectCode::Forced).await, reached(0));
        assert_eq!((one.closed().await, two.closed().await), (3503, 3503));
    }
}

#[tokio::test]
async fn who_leaves_their_feed_still_obeys() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = first.twin().await;
    let mut ann = second.connect("ann").await;
    ann.ask("unsubscribe", json!({ "channel": "user:ann" })).await;
    assert_eq!(first.control.disconnect("ann", DisconnectCode::Forced).await, reached(0));
    assert_eq!(ann.closed().await, 3503);
}

#[tokio::test]
async fn the_caller_learns_when_other_nodes_cannot_be_told() {
    let redis = Redis::start().await;
    let first = node(&redis).await;
    let second = first.twin().await;
    let (mut here, mut there) = (first.connect("ann").await, second.connect("ann").await);
    let notice = || json_of(&json!("notice"));
    assert_eq!(first.control.send("ann", notice()).await, reached(1));
    assert_eq!(there.push("message").await["message"]["data"], "notice");
    here.push("message").await;

    redis.pause();
    let asked = Instant::now();
    let unknown = Reached { here: 1, elsewhere: Elsewhere::Unknown };
    assert_eq!(first.control.send("ann", notice()).await, unknown);
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    here.push("message").await;
    redis.resume();

    redis.kill();
    let asked = Instant::now();
    assert_eq!(first.control.send("ann", notice()).await, unknown);
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    here.push("message").await;

    redis.restart().await;
    until_they_hear_each_other(&first, &mut there).await;
    assert_eq!(first.control.disconnect("ann", DisconnectCode::Forced).await, reached(1));
    assert_eq!((here.closed().await, there.closed().await), (3503, 3503));
}

#[tokio::test]
async fn who_is_alone_or_has_no_name_needs_no_bus() {
    let not_needed = |here| Reached { here, elsewhere: Elsewhere::NotNeeded };
    let alone = Stage::start().await;
    let mut ann = alone.connect("ann").await;
    assert_eq!(alone.control.disconnect("ann", DisconnectCode::Forced).await, not_needed(1));
    assert_eq!(ann.closed().await, 3503);
    let node = Stage::node(Backend::Sqlite, &[]).await;
    let mut nobody = node.anonymous().await;
    assert_eq!(node.control.disconnect("", DisconnectCode::Forced).await, not_needed(0));
    nobody.ask("ping", json!({})).await;
}
