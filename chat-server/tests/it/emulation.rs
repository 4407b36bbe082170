//! SSE and HTTP streaming: the whole protocol without a WebSocket.

use proto::client::v1;
use serde_json::{Value, json};

use crate::harness::{Stage, eventually, http, publish, subscribe, token};

const JSON: &str = "Content-Type: application/json";
const PROTOBUF: &str = "Content-Type: application/octet-stream";

#[tokio::test]
async fn a_stream_carries_what_a_websocket_would() {
    let stage = Stage::start().await;
    for mut client in [stage.sse("ann").await, stage.http_stream("ann").await] {
        let mut bob = stage.connect("bob").await;
        bob.subscribe("lobby").await;
        let reply = client.ask("subscribe", json!({ "channel": "lobby" })).await;
        assert_eq!(reply["subscribe"]["recoverable"], true, "{reply}");
        bob.publish("lobby", json!("to the stream")).await;
        assert_eq!(client.publication().await["data"], "to the stream");
        let id = bob.publication().await["offset"].clone();
        let reply = client.ask("publish", json!({ "channel": "lobby", "data": "back" })).await;
        assert_eq!(reply["publish"]["offset"], id.as_u64().unwrap() + 1);
        assert_eq!(bob.publication().await["data"], "back");
        let page = client.ask("history", json!({ "channel": "lobby", "limit": -1 })).await;
        assert!(page["history"]["publications"].as_array().unwrap().len() >= 2);
        let reply = client.ask("presence_stats", json!({ "channel": "lobby" })).await;
        assert_eq!(reply["presence_stats"]["num_clients"], 2);
        client.ask("unsubscribe", json!({ "channel": "lobby" })).await;
        let error = client.ask("subscribe", json!({ "channel": "nowhere:1" })).await;
        assert_eq!(error["error"]["code"], 102);
    }
}

#[tokio::test]
async fn a_stream_carries_protobuf_too() {
    let stage = Stage::start().await;
    let mut ann = stage.http_stream_protobuf("ann").await;
    let mut bob = stage.connect("bob").await;
    bob.subscribe("lobby").await;
    let with_id = |id: u32, mut command: v1::Command| {
        command.id = id;
        command
    };
    assert_eq!(ann.post_protobuf(with_id(2, subscribe("lobby"))).await.status, 204);
    let reply = ann.reply().await;
    assert!(
        matches!(reply.body, Some(v1::reply::Body::Subscribe(_))) && reply.id == 2,
        "{reply:?}"
    );
    assert_eq!(ann.post_protobuf(with_id(3, publish("lobby", b"\"hi\""))).await.status, 204);
    assert_eq!(bob.publication().await["data"], "hi");
    loop {
        if let Some(v1::reply::Body::Push(push)) = ann.reply().await.body
            && let Some(v1::push::Body::Pub(publication)) = push.body
        {
            break assert_eq!(&publication.data[..], b"\"hi\"");
        }
    }
}

#[tokio::test]
async fn a_response_is_not_to_be_kept_or_held_back() {
    let stage = Stage::start().await;
    for (stream, kind) in [
        (stage.sse("ann").await, "content-type: text/event-stream"),
        (stage.http_stream("ann").await, "content-type: application/json"),
        (stage.http_stream_protobuf("ann").await, "content-type: application/octet-stream"),
    ] {
        let head = stream.head.to_ascii_lowercase();
        for line in [kind, "cache-control: private, no-cache, no-store", "x-accel-buffering: no"] {
            assert!(head.lines().any(|found| found == line), "{line} in {head}");
        }
    }
}

#[tokio::test]
async fn the_session_is_a_secret_of_its_own() {
    let stage = Stage::start().await;
    let (ann, bob) = (stage.sse("ann").await, stage.sse("ann").await);
    assert_eq!((ann.session.len(), ann.node == bob.node), (32, true));
    assert_ne!(ann.session, bob.session);
    let mut socket = stage.socket().await;
    let connected = socket.ask("connect", json!({})).await["connect"].clone();
    assert_eq!(connected["session"], Value::Null);
    // The client's id is known to others: it opens nothing.
    let id = connected["client"].as_str().unwrap().replace('-', "");
    let body = json!({ "session": id, "node": ann.node, "data": "{}" });
    assert_eq!(ann.emulate(&body).await.status, 404);
}

#[tokio::test]
async fn an_unknown_session_or_node_is_not_found() {
    let stage = Stage::start().await;
    let ann = stage.sse("ann").await;
    for (session, node, reason) in [
        (ann.session.as_str(), "another", "node"),
        (&ann.session, "", "node"),
        ("00000000000000000000000000000000", &ann.node, "session"),
        ("not a number", &ann.node, "session"),
        (&"f".repeat(33), &ann.node, "session"),
    ] {
        let body = json!({ "session": session, "node": node, "data": "{}" });
        let answer = ann.emulate(&body).await;
        let problem = answer.problem();
        assert_eq!(
            (answer.status, &problem["code"], &problem["reason"]),
            (404, &json!(404), &json!(reason))
        );
    }
    assert_eq!(ann.post("{}").await.status, 204);
}

#[tokio::test]
async fn a_body_that_is_no_emulation_request_is_refused() {
    let stage = Stage::start().await;
    for body in ["", "{", "[]", "{}", r#"{"session":1}"#, r#"{"session":"","node":"n"}"#] {
        let answer = http::post(stage.addresses.http, "/emulation", &[JSON], body.as_bytes()).await;
        assert_eq!((answer.status, &answer.problem()["code"]), (400, &json!(107)), "{body}");
    }
    let bytes = [&b""[..], b"\xff\xff", &[0x12, 5, 1]];
    for body in bytes {
        let answer = http::post(stage.addresses.http, "/emulation", &[PROTOBUF], body).await;
        assert_eq!(answer.status, 400, "{body:?}");
    }
}

#[tokio::test]
async fn a_stream_needs_a_connect_command() {
    let stage = Stage::start().await;
    let port = stage.addresses.http;
    for answer in [
        http::get(port, "/connection/sse", &[]).await,
        http::post(port, "/connection/http_stream", &[JSON], b"").await,
    ] {
        assert_eq!((answer.status, &answer.problem()["reason"]), (400, &json!("connect_missing")));
    }
    // What can be parsed no better than on a WebSocket ends as it would there.
    for body in ["nonsense", r#"{"id":1,"ping":{}}"#, "{}\n[]"] {
        let answer = http::post(port, "/connection/http_stream", &[JSON], body.as_bytes()).await;
        assert!(answer.status == 200 && answer.body.contains(r#""code":3501"#), "{answer:?}");
    }
    let path = format!("/connection/sse?cf_connect={}", crate::harness::encode("{\"id\":0}"));
    let answer = http::get(port, &path, &[]).await;
    assert!(answer.body.contains("data: {\"push\":{\"disconnect\":{\"code\":3501"), "{answer:?}");
}

#[tokio::test]
async fn a_refused_connect_is_answered_and_the_response_ends() {
    let stage = Stage::with(&[("ALLOW_ANONYMOUS", "false")]).await;
    for stream in [stage.sse_with(json!({})).await, stage.http_stream_with(json!({})).await] {
        let rest = stream.rest().await;
        assert_eq!((rest.len(), &rest[0]["error"]["code"]), (1, &json!(101)), "{rest:?}");
    }
    let bad = stage.sse_with(json!({ "token": "nonsense" })).await.rest().await;
    assert_eq!(bad[0]["push"]["disconnect"]["code"], 3500);
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_with_the_limit() {
    let stage = Stage::start().await;
    let ann = stage.sse("ann").await;
    let port = stage.addresses.http;
    let answer = ann.post(&" ".repeat(65_537)).await;
    let problem = answer.problem();
    let found = (answer.status, &problem["code"], &problem["limit"], &problem["got"]);
    assert_eq!(found, (413, &json!(413), &json!(65_536), &json!(65_537)));
    let answer = ann.post(&"x".repeat(200_000)).await;
    assert_eq!((answer.status, &answer.problem()["reason"]), (413, &json!("frame_size")));
    let large = vec![b' '; 65_537];
    let answer = http::post(port, "/connection/http_stream", &[JSON], &large).await;
    let problem = answer.problem();
    let found = (answer.status, &problem["limit"], &problem["got"]);
    assert_eq!(found, (413, &json!(65_536), &json!(65_537)));
    let endless = ["Transfer-Encoding: chunked", "Connection: close"];
    let head = http::head("POST", "/connection/http_stream", &endless);
    let chunks = "8000\r\n".to_owned() + &" ".repeat(0x8000) + "\r\n";
    let answer = http::raw(port, &(head + &chunks.repeat(3))).await;
    assert_eq!((answer.status, &answer.problem()["got"]), (413, &Value::Null));
    // The frame at the limit passes.
    let ping = r#"{"id":9,"ping":{}}"#;
    let padded = format!("{ping}{}", " ".repeat(65_536 - ping.len()));
    assert_eq!(ann.post(&padded).await.status, 204);
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let soon = std::time::Duration::from_millis(100);
    let stage = Stage::with_config(|config| config.timing.header_timeout = soon).await;
    for path in ["/connection/http_stream", "/emulation"] {
        let head = http::head("POST", path, &["Content-Length: 100", "Connection: close"]);
        let answer = http::raw(stage.addresses.http, &(head + "{")).await;
        assert_eq!((answer.status, &answer.problem()["reason"]), (408, &json!("body_timeout")));
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_a_client_that_is_gone() {
    let stage = Stage::start().await;
    let mut bob = stage.connect("bob").await;
    bob.subscribe("lobby").await;
    for kind in ["sse", "json", "protobuf"] {
        let mut ann = match kind {
            "sse" => stage.sse("ann").await,
            "json" => stage.http_stream("ann").await,
            _ => stage.http_stream_protobuf("ann").await,
        };
        if kind == "protobuf" {
            let mut command = subscribe("lobby");
            command.id = 2;
            ann.post_protobuf(command).await;
        } else {
            ann.ask("subscribe", json!({ "channel": "lobby" })).await;
        }
        bob.push("join").await;
        let (session, node) = (ann.session.clone(), ann.node.clone());
        drop(ann);
        let leave = |message: &Value| message["push"]["leave"]["info"]["user"] == "ann";
        bob.expect(leave).await;
        let reply = bob.ask("presence_stats", json!({ "channel": "lobby" })).await;
        assert_eq!(reply["presence_stats"]["num_clients"], 1, "{kind}");
        let body = json!({ "session": session, "node": node, "data": "{}" }).to_string();
        let answer = http::post(stage.addresses.http, "/emulation", &[JSON], body.as_bytes()).await;
        assert_eq!(answer.status, 404, "{kind}");
    }
}

#[tokio::test]
async fn a_bad_frame_ends_the_stream() {
    let stage = Stage::start().await;
    for bad in ["", "nonsense", r#"{"id":1}"#] {
        let ann = stage.http_stream("ann").await;
        assert_eq!(ann.post(bad).await.status, 204);
        let last = ann.rest().await.pop().unwrap();
        assert_eq!(last["push"]["disconnect"]["code"], 3501, "{bad:?}");
        assert_eq!(last["push"]["disconnect"].get("reconnect"), None);
    }
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_given_up() {
    let stage = Stage::with(&[("MAX_MESSAGE_SIZE", "61440")]).await;
    let mut ann = stage.http_stream("ann").await;
    ann.ask("subscribe", json!({ "channel": "lobby" })).await;
    let large = chat_server::protocol::Json::from_value(&"x".repeat(60_000)).unwrap();
    // The kernel takes some megabytes before anything has to wait.
    eventually("the session is over", async || {
        stage.control.publish("lobby", large.clone()).await.unwrap();
        tokio::task::yield_now().await;
        let metrics = stage.telemetry.render();
        metrics.contains("chat_connections_active{transport=\"http_stream\"} 0\n")
    })
    .await;
    assert_eq!(ann.post("{}").await.status, 404);
    // Nor does its connection keep a slot, though the client never reads and never closes.
    eventually("the connection is gone", async || {
        let health = http::get(stage.addresses.http, "/health", &[]).await;
        let health: Value = serde_json::from_str(&health.body).unwrap();
        health["connections"] == 1
    })
    .await;
    drop(ann);
}

#[tokio::test]
async fn a_second_connect_ends_the_stream() {
    let stage = Stage::start().await;
    let ann = stage.http_stream("ann").await;
    let again = json!({ "id": 2, "connect": { "token": token("bob") } }).to_string();
    assert_eq!(ann.post(&again).await.status, 204);
    assert_eq!(ann.rest().await.pop().unwrap()["push"]["disconnect"]["code"], 3501);
}
