//! How much one client, one person and one address may have.

use std::net::SocketAddr;
use std::time::Duration;

use chassis::testing::deadline;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::client_async;

use crate::harness::http::{self, Answer};
use crate::harness::{Stage, eventually, token};

#[tokio::test]
async fn a_connection_has_128_channels_beside_what_the_server_gives_it() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    assert_eq!(stage.control.subscribe("ann", "given").await.here, 1);
    ann.push("subscribe").await;
    for number in 0..128 {
        ann.subscribe(&format!("c{number}")).await;
    }
    let error = ann.refused("subscribe", json!({ "channel": "more" })).await;
    let found = (&error["code"], &error["limit"], &error["got"]);
    assert_eq!(found, (&json!(106), &json!(128), &json!(129)));
    ann.ask("unsubscribe", json!({ "channel": "c5" })).await;
    ann.subscribe("more").await;
}

#[tokio::test]
async fn a_person_has_ten_connections_and_one_that_ends_makes_room() {
    let stage = Stage::start().await;
    let mut first = stage.connect("ann").await;
    let mut others = Vec::new();
    for _ in 1..10 {
        others.push(stage.connect("ann").await);
    }
    let mut late = stage.socket().await;
    late.send("connect", json!({ "token": token("ann") })).await;
    assert_eq!(late.closed().await, 4002);
    stage.connect("bob").await;
    first.socket.close(None).await.unwrap();
    while let Some(Ok(_)) = futures_util::StreamExt::next(&mut first.socket).await {}
    stage.connect("ann").await;
}

#[tokio::test]
async fn a_connection_that_the_server_ends_makes_room_at_once() {
    let stage = Stage::with(&[("MAX_CONNECTIONS_PER_USER", "1")]).await;
    let mut ann = stage.connect("ann").await;
    let code = chat_server::protocol::DisconnectCode::ForceReconnect;
    assert_eq!(stage.control.disconnect("ann", code).await.here, 1);
    // Told, but not gone: a client answers when it can.
    let close = futures_util::StreamExt::next(&mut ann.socket).await;
    assert!(close.unwrap().unwrap().is_close());
    stage.connect("ann").await;
}

#[tokio::test]
async fn those_without_a_name_are_not_counted_together() {
    let stage = Stage::with(&[("MAX_CONNECTIONS_PER_USER", "1")]).await;
    let _three = [stage.anonymous().await, stage.anonymous().await, stage.anonymous().await];
}

#[tokio::test]
async fn publications_are_counted_by_person_and_others_are_not_held_back() {
    let stage = Stage::with(&[("MAX_MESSAGE_RATE", "3")]).await;
    let (mut first, mut second) = (stage.connect("ann").await, stage.connect("ann").await);
    let publish = json!({ "channel": "lobby", "data": 1 });
    let (mut taken, mut refused) = (0, None);
    for round in 0..100 {
        let client = if round % 2 == 0 { &mut first } else { &mut second };
        let reply = client.ask("publish", publish.clone()).await;
        match reply["error"].is_object() {
            true => refused = Some(reply["error"].clone()),
            false => taken += 1,
        }
        if refused.is_some() {
            break;
        }
    }
    let error = refused.expect("a limit");
    assert!(taken >= 3, "a second's worth may come at once");
    let found = (&error["code"], &error["reason"], &error["temporary"], &error["limit"]);
    assert_eq!(found, (&json!(111), &json!("message_rate"), &json!(true), &json!(3)));
    let wait = error["retry_after_ms"].as_u64().unwrap();
    assert!((1..=334).contains(&wait), "{wait}");
    stage.connect("bob").await.publish("lobby", json!(1)).await;
    first.ask("ping", json!({})).await;
    // Asked often, but not so often that asking becomes the offence.
    let mut ticks = tokio::time::interval(Duration::from_millis(wait));
    deadline(async {
        while first.ask("publish", publish.clone()).await["error"].is_object() {
            ticks.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn those_without_a_name_have_a_rate_for_each_connection() {
    let stage = Stage::with(&[("MAX_MESSAGE_RATE", "1")]).await;
    for _ in 0..3 {
        stage.anonymous().await.publish("lobby", json!(1)).await;
    }
}

#[tokio::test]
async fn refused_publications_count_too() {
    let stage = Stage::with(&[("MAX_MESSAGE_RATE", "1")]).await;
    let mut ann = stage.connect("ann").await;
    let publish = |id: u32, channel: &str| {
        json!({ "id": id, "publish": { "channel": channel, "data": 1 } }).to_string()
    };
    ann.text(&[publish(11, "room:1"), publish(12, "lobby")].join("\n")).await;
    assert_eq!(ann.expect(|message| message["id"] == 11).await["error"]["code"], 102);
    assert_eq!(ann.expect(|message| message["id"] == 12).await["error"]["code"], 111);
}

#[tokio::test]
async fn other_commands_have_a_rate_of_their_own() {
    let stage = Stage::with(&[("COMMAND_RATE", "1")]).await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let lines: Vec<String> =
        (11..=20).map(|id| json!({ "id": id, "ping": {} }).to_string()).collect();
    ann.text(&lines.join("\n")).await;
    let mut answers: Vec<Value> = Vec::new();
    for id in 11..=20 {
        answers.push(ann.expect(|message| message["id"] == id).await);
    }
    assert!(answers[..5].iter().all(|answer| answer["ping"].is_object()), "five seconds' worth");
    let error = &answers[9]["error"];
    assert_eq!((&error["code"], &error["reason"]), (&json!(111), &json!("command_rate")));
    assert!((1..=1000).contains(&error["retry_after_ms"].as_u64().unwrap()), "{error}");
    ann.publish("lobby", json!(1)).await;
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    bob.ask("ping", json!({})).await;
}

#[tokio::test]
async fn who_goes_on_sending_what_is_refused_is_let_go() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let refused = "{\"id\":9,\"publish\":{\"channel\":\"x\"}}\n".repeat(1500);
    ann.text(&refused).await;
    assert_eq!(ann.closed().await, 3509);
}

#[tokio::test]
async fn requests_are_counted_by_address_and_health_is_not() {
    let stage = Stage::with(&[("RATE_LIMIT_PER_MINUTE", "3")]).await;
    let ports = [stage.addresses.http, stage.addresses.connections];
    for port in [ports[0], ports[1], ports[0]] {
        assert_eq!(http::get(port, "/connection/sse", &[]).await.status, 400);
    }
    for (port, path) in [(ports[0], "/connection/sse"), (ports[1], "/connection/websocket")] {
        let answer = http::get(port, path, &[]).await;
        assert_eq!(answer.status, 429);
        let problem = answer.problem();
        assert_eq!(
            (&problem["code"], &problem["reason"]),
            (&json!(111), &json!("requests_per_minute"))
        );
        let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=20).contains(&seconds), "{seconds}");
        let wait = problem["retry_after_ms"].as_u64().unwrap();
        assert!(wait <= seconds * 1000 && wait > (seconds - 1) * 1000, "{wait}");
    }
    for _ in 0..5 {
        assert_eq!(http::get(ports[0], "/health", &[]).await.status, 200);
    }
}

#[tokio::test]
async fn commands_of_a_stream_are_no_requests_but_what_reaches_no_session_is() {
    let stage = Stage::with(&[("RATE_LIMIT_PER_MINUTE", "4")]).await;
    let ann = stage.sse("ann").await;
    for _ in 0..20 {
        assert_eq!(ann.post("{}").await.status, 204);
    }
    for (body, status) in [
        (json!({ "session": "0", "node": ann.node, "data": "{}" }), 404),
        (json!({ "session": ann.session, "node": "another", "data": "{}" }), 404),
        (json!({ "session": 1 }), 400),
        (json!({ "session": 1 }), 429),
        (json!({ "session": "0", "node": ann.node, "data": "{}" }), 429),
    ] {
        assert_eq!(ann.emulate(&body).await.status, status, "{body}");
    }
    assert_eq!(ann.post("{}").await.status, 204);
}

/// What an upgrade gets that is not let in.
async fn refused_upgrade(address: SocketAddr) -> Answer {
    let key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==";
    let headers = ["Upgrade: websocket", key, "Sec-WebSocket-Version: 13"];
    http::get(address, "/connection/websocket", &headers).await
}

#[tokio::test]
async fn a_full_server_says_so_before_the_upgrade_and_goes_on_telling_its_health() {
    let stage = Stage::with(&[("MAX_CONNECTIONS", "3")]).await;
    let (mut ann, bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let stream = stage.sse("sue").await;
    let ports = [stage.addresses.http, stage.addresses.connections];
    for port in ports {
        let answer = refused_upgrade(port).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        assert_eq!(answer.problem()["reason"], "connections_max");
        let answer = http::get(port, "/connection/sse?cf_connect=%7B%7D", &[]).await;
        assert_eq!(answer.status, 503);
        let answer = http::post(port, "/connection/http_stream", &[], b"{}").await;
        assert_eq!(answer.status, 503);
    }
    assert_eq!(http::get(ports[0], "/health/live", &[]).await.status, 200);
    let ready = http::get(ports[0], "/health/ready", &[]).await;
    assert!(ready.status == 503 && ready.body.contains("3 of 3 connections"), "{ready:?}");
    // Those who are in are served, streams too.
    ann.ask("ping", json!({})).await;
    assert_eq!(stream.post("{}").await.status, 204);
    drop(bob);
    eventually("a slot is free", async || stage.connections().await < 3).await;
    stage.connect("bob").await;
}

#[tokio::test]
async fn a_flood_of_connections_does_not_keep_health_from_answering() {
    let stage =
        Stage::with(&[("MAX_CONNECTIONS", "10"), ("RATE_LIMIT_PER_MINUTE", "100000")]).await;
    let mut flood = Vec::new();
    for _ in 0..200 {
        flood.push(TcpStream::connect(stage.addresses.connections).await.unwrap());
    }
    for _ in 0..20 {
        assert_eq!(http::get(stage.addresses.http, "/health/live", &[]).await.status, 200);
        assert_eq!(refused_upgrade(stage.addresses.http).await.status, 503);
    }
}

/// Whether a new connection is served at all.
async fn is_served(stage: &Stage) -> bool {
    let mut stream = stage.tcp().await;
    let request = http::head("GET", "/connection/sse", &["Connection: close"]);
    // A connection that was dropped may refuse to be written to, or to be read.
    let mut answer = String::new();
    stream.write_all(request.as_bytes()).await.is_ok()
        && stream.read_to_string(&mut answer).await.is_ok()
        && answer.starts_with("HTTP/1.1 ")
}

#[tokio::test]
async fn an_address_has_its_share_of_connections() {
    let stage = Stage::with(&[("MAX_CONNECTIONS_PER_IP", "2")]).await;
    let (ann, _bob) = (stage.connect("ann").await, stage.connect("bob").await);
    assert!(!is_served(&stage).await);
    drop(ann);
    eventually("a connection is over", async || is_served(&stage).await).await;
}

#[tokio::test]
async fn an_address_has_its_share_of_new_connections() {
    let stage = Stage::with(&[("CONNECT_RATE_PER_IP", "2")]).await;
    let mut served = 0;
    while is_served(&stage).await {
        served += 1;
        assert!(served < 1000, "there is no limit");
    }
    assert!(served >= 2);
    eventually("the rate is over", async || is_served(&stage).await).await;
    let url = format!("ws://{}/connection/websocket", stage.addresses.connections);
    eventually("a client gets in", async || client_async(&url, stage.tcp().await).await.is_ok())
        .await;
}
