//! How a server goes: everyone is told in the words of its transport, and nobody is lost.

use std::time::Duration;

use chassis::testing::deadline;
use chat_server::protocol::Json;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Stage, http};

#[tokio::test]
async fn everyone_is_told_in_the_words_of_its_transport() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect_binary("bob").await);
    let (mut silent, mut other) = (stage.socket().await, stage.binary_socket().await);
    let (sue, tom) = (stage.sse("sue").await, stage.http_stream("tom").await);
    let mut kim = stage.http_stream_protobuf("kim").await;
    stage.shutdown.trigger();
    assert_eq!((ann.closed().await, bob.closed().await), (3001, 3001));
    assert_eq!((silent.closed().await, other.closed().await), (1012, 1012));
    for stream in [sue, tom] {
        let last = stream.rest().await.pop().unwrap()["push"]["disconnect"].clone();
        assert_eq!((&last["code"], &last["reconnect"]), (&json!(3001), &json!(true)));
        assert_eq!((&last["reason"], last.get("after_ms")), (&json!("shutdown"), None));
    }
    match kim.reply().await.body {
        Some(proto::client::v1::reply::Body::Push(push)) => match push.body {
            Some(proto::client::v1::push::Body::Disconnect(last)) => {
                assert_eq!((last.code, last.reconnect), (3001, true));
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    drop(kim);
    let report = stage.stop().await;
    assert_eq!((report.told, report.forced), (7, 0));
}

#[tokio::test]
async fn those_who_can_be_told_ahead_are_told_when_to_come_back() {
    let stage = Stage::start().await;
    let connect = json!({ "veza": { "after": true } });
    let mut clients = Vec::new();
    for _ in 0..25 {
        let mut client = stage.socket().await;
        let reply = client.ask("connect", connect.clone()).await;
        assert_eq!(reply["connect"]["veza"], json!({ "after": true }), "granted");
        clients.push(client);
    }
    let mut sse = stage.sse_with(connect).await;
    let mut stock = stage.connect("ann").await;
    stage.shutdown.trigger();
    let mut waits = Vec::new();
    for client in &mut clients {
        let push = client.push("disconnect").await["disconnect"].clone();
        assert_eq!((&push["code"], &push["reconnect"]), (&json!(3001), &json!(true)));
        waits.push(push["after_ms"].as_u64().unwrap_or(0));
    }
    let is_goodbye = |message: &Value| message["push"]["disconnect"].is_object();
    let ahead = sse.expect(is_goodbye).await["push"]["disconnect"].clone();
    waits.push(ahead["after_ms"].as_u64().unwrap_or(0));
    // 250 a second: 27 clients go within 108 ms, evenly.
    waits.sort_unstable();
    assert!(waits.windows(2).all(|pair| (1..=8).contains(&(pair[1] - pair[0]))), "{waits:?}");
    assert!(*waits.last().unwrap() <= 108, "{waits:?}");
    for client in &mut clients {
        assert_eq!(client.closed().await, 3001);
    }
    let last = sse.rest().await.pop().unwrap();
    let last = &last["push"]["disconnect"];
    assert_eq!((&last["code"], last.get("after_ms")), (&json!(3001), None));
    while let Some(Ok(message)) = deadline(stock.socket.next()).await {
        assert!(!message.is_text(), "a stock client knows the close frame only: {message:?}");
    }
}

#[tokio::test]
async fn what_was_acknowledged_arrives_before_the_goodbye() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let mut sue = stage.sse("sue").await;
    bob.subscribe("lobby").await;
    sue.ask("subscribe", json!({ "channel": "lobby" })).await;
    for number in 1..=20 {
        ann.publish("lobby", json!(number)).await;
    }
    // And what is accepted in the very turn in which the server begins to go.
    for number in 21..=25 {
        stage.control.publish("lobby", Json::from_value(&number).unwrap()).await.unwrap();
    }
    stage.shutdown.trigger();
    for number in 1..=25 {
        assert_eq!(bob.publication().await["data"], number);
        assert_eq!(sue.publication().await["data"], number);
    }
    assert_eq!(bob.closed().await, 3001);
}

#[tokio::test]
async fn a_server_that_goes_is_not_ready_and_takes_nobody_in() {
    let stage = Stage::with(&[("RATE_LIMIT_PER_MINUTE", "100000")]).await;
    let mut clients = Vec::new();
    // 250 a second: these take most of a second.
    for _ in 0..200 {
        clients.push(stage.anonymous().await);
    }
    let port = stage.addresses.http;
    assert_eq!(http::get(port, "/health/ready", &[]).await.status, 200);
    stage.shutdown.trigger();
    let ready = http::get(port, "/health/ready", &[]).await;
    assert!(ready.status == 503 && ready.body.contains("draining"), "{ready:?}");
    assert_eq!(http::get(port, "/health/live", &[]).await.status, 200);
    for answer in [
        http::get(port, "/connection/websocket", &[]).await,
        http::post(port, "/connection/http_stream", &[], b"{}").await,
    ] {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("5")));
        assert_eq!(answer.problem()["reason"], "draining");
    }
    drop(clients);
    let addresses = stage.addresses;
    assert_eq!(stage.stop().await.forced, 0);
    assert!(tokio::net::TcpStream::connect(addresses.http).await.is_err());
    assert!(tokio::net::TcpStream::connect(addresses.connections).await.is_err());
}

#[tokio::test]
async fn whoever_comes_in_while_the_server_begins_to_go_is_told_too() {
    let headers = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
    ];
    let request = http::head("GET", "/connection/websocket", &headers);
    let mut upgraded = 0;
    // The shutdown meets the upgrade one step later each time.
    for steps in 0..40 {
        let stage = Stage::start().await;
        let mut socket = stage.tcp().await;
        socket.write_all(request.as_bytes()).await.unwrap();
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        stage.shutdown.trigger();
        let mut answer = Vec::new();
        let _reset = deadline(socket.read_to_end(&mut answer)).await.is_err();
        if answer.starts_with(b"HTTP/1.1 101 ") {
            upgraded += 1;
            let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
            assert_eq!(&answer[end..end + 4], [0x88, 17, 0x03, 0xf4], "a close frame with 1012");
        }
        drop(socket);
        let report = stage.stop().await;
        assert!(report.forced == 0 && report.took < Duration::from_secs(5), "{steps}: {report:?}");
    }
    assert!(upgraded > 0, "no upgrade was met");
}

#[tokio::test]
async fn a_client_that_does_not_go_is_not_waited_for_long() {
    let stage = Stage::start().await;
    // Neither answers: one has not been read from, of the other nothing is read.
    let (_ann, _sue) = (stage.connect("ann").await, stage.sse("sue").await);
    let report = stage.stop().await;
    assert_eq!((report.told, report.forced), (2, 0));
    assert!(report.took < Duration::from_secs(5), "{report:?}");
}

#[tokio::test]
async fn when_the_grace_is_over_the_rest_is_cut() {
    let stage = Stage::with(&[("SHUTDOWN_GRACE_MS", "0"), ("SHUTDOWN_SPREAD_MS", "0")]).await;
    let mut ann = stage.connect("ann").await;
    let report = stage.stop().await;
    assert!(report.told == 1 && report.forced >= 1, "{report:?}");
    while let Some(Ok(_)) = deadline(ann.socket.next()).await {}
}

#[tokio::test]
async fn a_connect_that_waits_for_its_key_is_over_in_time() {
    // Nobody answers there, so the token's key never comes.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let stage = Stage::with(&[("JWKS_URL", &url)]).await;
    let mut ann = stage.socket().await;
    let issuer = chassis::testing::Issuer::ed_dsa("one");
    ann.send("connect", json!({ "token": issuer.token(&json!({ "sub": "ann" })) })).await;
    let _asked = deadline(listener.accept()).await.unwrap();
    let report = stage.stop().await;
    assert!(report.forced == 0 && report.took < Duration::from_secs(8), "{report:?}");
}
