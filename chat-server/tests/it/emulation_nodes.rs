//! SSE and HTTP streaming behind a balancer: commands come to any node and get to the session's.

use std::time::Duration;

use chassis::testing::Redis;
use chat_server::protocol::{DisconnectCode, Json};
use proto::client::v1;
use serde_json::{Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::harness::http::Answer;
use crate::harness::{Backend, Stage, eventually, http, on_both_stores, publish, subscribe};

const JSON: &str = "Content-Type: application/json";

/// Every command is answered within this, whatever Redis does.
const ANSWERED: Duration = Duration::from_millis(3800);

/// Sends a frame for the session of a stream to this node.
async fn post(to: &Stage, session: &str, node: &str, data: &str) -> Answer {
    let body = json!({ "session": session, "node": node, "data": data }).to_string();
    http::post(to.addresses.http, "/emulation", &[JSON], body.as_bytes()).await
}

/// Another node of the same deployment, when it hears the first.
async fn another(first: &Stage) -> Stage {
    let second = first.twin().await;
    let ann = first.sse("somebody").await;
    eventually("a new node hears the others", async || {
        post(&second, &ann.session, &ann.node, "{}").await.status == 204
    })
    .await;
    second
}

on_both_stores! {
    async fn commands_that_come_to_another_node_are_answered_down_the_stream(backend: Backend) {
        let first = Stage::node(backend, &[]).await;
        let second = another(&first).await;
        for mut ann in [first.sse("ann").await, first.http_stream("ann").await] {
            ann.posts_to(second.addresses.http);
            let reply = ann.ask("subscribe", json!({ "channel": "lobby" })).await;
            assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
            let reply = ann.ask("publish", json!({ "channel": "lobby", "data": "hi" })).await;
            assert!(reply["publish"].is_object(), "{reply}");
            assert_eq!(ann.publication().await["data"], "hi");
            for _ in 0..20 {
                ann.ask("ping", json!({})).await;
            }
            let error = ann.ask("subscribe", json!({ "channel": "nowhere:1" })).await;
            assert_eq!(error["error"]["code"], 102);
        }
    }
}

#[tokio::test]
async fn protobuf_is_handed_over_as_it_came() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = another(&first).await;
    let mut ann = first.http_stream_protobuf("ann").await;
    ann.posts_to(second.addresses.http);
    let with_id = |id: u32, mut command: v1::Command| {
        command.id = id;
        command
    };
    assert_eq!(ann.post_protobuf(with_id(2, subscribe("lobby"))).await.status, 204);
    let reply = ann.reply().await;
    assert!(matches!(reply.body, Some(v1::reply::Body::Subscribe(_))), "{reply:?}");
    assert_eq!(ann.post_protobuf(with_id(3, publish("lobby", b"\"hi\""))).await.status, 204);
    while !matches!(ann.reply().await.body, Some(v1::reply::Body::Publish(_))) {}
}

#[tokio::test]
async fn an_unknown_session_or_node_is_not_found_from_another_node_either() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = another(&first).await;
    let ann = first.sse("ann").await;
    let nobody = Uuid::new_v4().to_string();
    let asked = Instant::now();
    for (session, node, reason) in [
        ("00000000000000000000000000000000", ann.node.as_str(), "session"),
        ("not a number", &ann.node, "session"),
        (&ann.session, &nobody, "node"),
        (&ann.session, "another", "node"),
        (&ann.session, "*", "node"),
    ] {
        let answer = post(&second, session, node, "{}").await;
        let problem = answer.problem();
        assert_eq!((answer.status, &problem["reason"]), (404, &json!(reason)), "{problem}");
    }
    // Known at once, not when nobody has answered in time.
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    let (session, node) = (ann.session.clone(), ann.node.clone());
    assert_eq!(post(&second, &session, &node, "{}").await.status, 204);
    drop(ann);
    eventually("the session is over", async || {
        post(&second, &session, &node, "{}").await.problem()["reason"] == "session"
    })
    .await;
    first.stop().await;
    eventually("the node is gone", async || {
        post(&second, &session, &node, "{}").await.problem()["reason"] == "node"
    })
    .await;
}

#[tokio::test]
async fn a_session_that_takes_no_more_commands_says_so_through_another_node() {
    let first = Stage::node(Backend::Sqlite, &[("MAX_MESSAGE_SIZE", "61440")]).await;
    let second = another(&first).await;
    let mut ann = first.http_stream("ann").await;
    ann.ask("subscribe", json!({ "channel": "lobby" })).await;
    let large = Json::from_value(&"x".repeat(60_000)).unwrap();
    for _ in 0..10 {
        first.control.publish("lobby", large.clone()).await.unwrap();
        ann.publication().await;
    }
    // Nobody reads the answers: the session waits for its client, and commands for the session.
    let page = json!({ "channel": "lobby", "limit": -1 });
    let ask = json!({ "id": 9, "history": page }).to_string();
    let mut answer = post(&second, &ann.session, &ann.node, &ask).await;
    for _ in 0..1000 {
        if answer.status != 204 {
            break;
        }
        answer = post(&second, &ann.session, &ann.node, &ask).await;
    }
    let problem = answer.problem();
    let found = (answer.status, &problem["reason"], answer.header("retry-after"));
    assert_eq!(found, (429, &json!("commands_waiting"), Some("1")), "{problem}");
    let local = post(&first, &ann.session, &ann.node, &ask).await;
    assert_eq!(local.problem(), problem, "what the session's own node says");
}

#[tokio::test]
async fn with_the_bus_away_the_client_is_told_to_come_later_and_its_own_node_goes_on() {
    let redis = Redis::start().await;
    let first = Stage::with(&[("REDIS_URL", &redis.url())]).await;
    let second = another(&first).await;
    let mut ann = first.sse("ann").await;
    assert_eq!(post(&second, &ann.session, &ann.node, "{}").await.status, 204);

    redis.pause();
    let is_refused = |answer: Answer, reasons: &[&str]| {
        let problem = answer.problem();
        assert_eq!((answer.status, &problem["code"]), (503, &json!(503)), "{problem}");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert!(reasons.iter().any(|reason| problem["reason"] == *reason), "{problem}");
    };
    let asked = Instant::now();
    is_refused(post(&second, &ann.session, &ann.node, "{}").await, &["nodes_away"]);
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    ann.ask("ping", json!({})).await;
    redis.resume();

    redis.kill();
    let asked = Instant::now();
    is_refused(post(&second, &ann.session, &ann.node, "{}").await, &["nodes_away"]);
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    ann.ask("ping", json!({})).await;

    redis.restart().await;
    eventually("commands are handed over again", async || {
        post(&second, &ann.session, &ann.node, "{}").await.status == 204
    })
    .await;
}

#[tokio::test]
async fn an_order_ends_a_stream_whose_commands_came_to_another_node() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = another(&first).await;
    let mut ann = first.sse("ann").await;
    ann.posts_to(second.addresses.http);
    ann.ask("ping", json!({})).await;
    second.control.disconnect("ann", DisconnectCode::Forced).await;
    let last: Value = ann.rest().await.pop().unwrap();
    assert_eq!(last["push"]["disconnect"]["code"], 3503);
}

#[tokio::test]
async fn guesses_at_sessions_of_other_nodes_cost_no_question_once_they_are_too_many() {
    let first = Stage::node(Backend::Sqlite, &[("RATE_LIMIT_PER_MINUTE", "60")]).await;
    let second = another(&first).await;
    let mut ann = first.sse("ann").await;
    ann.posts_to(second.addresses.http);
    eventually("her session is known to the other node", async || {
        post(&second, &ann.session, &ann.node, "{}").await.status == 204
    })
    .await;

    let begun = Instant::now();
    let before = said(&second);
    let guess = "00000000000000000000000000000000";
    let nobody = Uuid::new_v4().to_string();
    let mut asked = 0;
    for _ in 0..100 {
        for node in [&ann.node, &nobody] {
            asked += u64::from(post(&second, guess, node, "{}").await.status == 404);
        }
    }
    let refilled = begun.elapsed().as_secs() + 1;
    assert!(asked <= 60 + refilled, "{asked} were asked for");
    let said = said(&second) - before;
    assert!(said <= asked, "{said} were said for {asked}");
    assert_eq!(post(&second, guess, &ann.node, "{}").await.status, 429);
    // Whoever has a session goes on.
    for _ in 0..80 {
        ann.ask("ping", json!({})).await;
    }
}

/// What a node has said to others.
fn said(node: &Stage) -> u64 {
    let text = node.telemetry.render();
    let series = "bus_messages_total{direction=\"sent\"} ";
    text.lines().find_map(|line| line.strip_prefix(series)).unwrap().parse().unwrap()
}
