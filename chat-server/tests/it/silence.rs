//! Clients that say nothing, stop answering, or hang up half.

use std::io::{Read, Write};
use std::time::Duration;

use chassis::testing::deadline;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Stage, eventually, token};

/// Pings come soon and are to be answered soon.
const SOON: &[(&str, &str)] = &[("PING_INTERVAL_MS", "200"), ("PONG_TIMEOUT_MS", "100")];

const NO_TIME: &[(&str, &str)] = &[("AUTH_TIMEOUT_MS", "100")];

#[tokio::test]
async fn a_client_that_never_authenticates_is_closed() {
    let stage = Stage::with(NO_TIME).await;
    assert_eq!(stage.socket().await.closed().await, 3502);
}

#[tokio::test]
async fn a_client_that_only_pongs_is_closed_too() {
    let stage = Stage::with(NO_TIME).await;
    let mut client = stage.socket().await;
    client.text("{}").await;
    assert_eq!(client.closed().await, 3502);
}

#[tokio::test]
async fn a_client_that_sends_nothing_of_use_without_a_pause_is_closed_too() {
    let stage = Stage::with(NO_TIME).await;
    let socket = stage.socket().await.socket.into_inner().into_std().unwrap();
    socket.set_nonblocking(false).unwrap();
    socket.set_read_timeout(Some(chassis::testing::DEADLINE)).unwrap();
    let mut flooding = socket.try_clone().unwrap();
    // Pongs nobody asked for: nothing is answered, so nothing but the clock can end it.
    let flood = tokio::task::spawn_blocking(move || {
        let pongs = [0x8a, 0x80, 0, 0, 0, 0].repeat(10_000);
        while flooding.write_all(&pongs).is_ok() {}
    });
    let close = tokio::task::spawn_blocking(move || {
        let mut close = [0; 4];
        (&socket).read_exact(&mut close).map(|()| close)
    });
    let [opcode, _length, high, low] = deadline(close).await.unwrap().unwrap();
    assert_eq!((opcode, u16::from_be_bytes([high, low])), (0x88, 3502));
    deadline(flood).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_was_refused_is_not_read_and_ends_in_time() {
    let stage = Stage::with(&[NO_TIME, &[("ALLOW_ANONYMOUS", "false")]].concat()).await;
    let mut client = stage.socket().await;
    assert_eq!(client.refused("connect", json!({})).await["code"], 101);
    client.send("connect", json!({ "token": token("ann") })).await;
    assert_eq!(client.closed().await, 3502);
}

#[tokio::test]
async fn a_client_that_answers_pings_stays() {
    let stage = Stage::with(SOON).await;
    let mut ann = stage.socket().await;
    let reply = ann.ask("connect", json!({})).await;
    assert_eq!((&reply["connect"]["ping"], &reply["connect"]["pong"]), (&json!(1), &json!(true)));
    for _ in 0..3 {
        assert_eq!(next_text(&mut ann.socket).await, "{}");
        ann.text("{}").await;
    }
    assert_eq!(ann.ask("ping", json!({})).await["ping"], json!({}));
}

#[tokio::test]
async fn a_missing_pong_ends_the_connection_whatever_else_is_sent() {
    let stage = Stage::with(SOON).await;
    let mut ann = stage.connect("ann").await;
    assert_eq!(next_text(&mut ann.socket).await, "{}");
    ann.text(r#"{"id":9,"ping":{}}"#).await;
    assert_eq!(ann.closed().await, 3012);
}

#[tokio::test]
async fn a_pong_of_the_transport_is_no_answer() {
    let stage = Stage::with(SOON).await;
    let mut ann = stage.connect("ann").await;
    assert_eq!(next_text(&mut ann.socket).await, "{}");
    ann.socket.send(Message::Pong("".into())).await.unwrap();
    assert_eq!(ann.closed().await, 3012);
}

#[tokio::test]
async fn protobuf_clients_are_pinged_with_an_empty_message() {
    let stage = Stage::with(SOON).await;
    let mut ann = stage.connect_binary("ann").await;
    for _ in 0..2 {
        let ping = deadline(ann.socket.next()).await.unwrap().unwrap();
        assert_eq!(ping, Message::binary(vec![0]));
        ann.bytes(vec![0]).await;
    }
    assert_eq!(ann.closed().await, 3012);
}

#[tokio::test]
async fn a_stream_is_pinged_and_ended_by_a_push_when_nobody_answers() {
    let stage = Stage::with(SOON).await;
    let mut ann = stage.sse("ann").await;
    assert_eq!(ann.json().await, Some(json!({})));
    assert_eq!(ann.post("{}").await.status, 204);
    ann.expect(|message| *message == json!({})).await;
    let last = ann.rest().await.pop().unwrap();
    assert_eq!(last["push"]["disconnect"]["code"], 3012);
    assert_eq!(last["push"]["disconnect"]["reconnect"], true);
}

#[tokio::test]
async fn a_client_that_hangs_up_half_is_gone() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    bob.subscribe("lobby").await;
    ann.subscribe("lobby").await;
    ann.socket.get_mut().shutdown().await.unwrap();
    let left = |message: &Value| message["push"]["leave"]["info"]["user"] == "ann";
    bob.expect(left).await;
    let stats = bob.ask("presence_stats", json!({ "channel": "lobby" })).await;
    assert_eq!(stats["presence_stats"]["num_clients"], 1);
    let end = deadline(async { while let Some(Ok(_)) = ann.socket.next().await {} });
    end.await;
}

#[tokio::test]
async fn a_client_that_hangs_up_half_before_it_says_anything_is_gone() {
    let stage = Stage::with(&[("MAX_CONNECTIONS", "1")]).await;
    let mut client = stage.socket().await;
    client.socket.get_mut().shutdown().await.unwrap();
    // Its slot is free for the next one.
    eventually("the slot is given back", async || {
        let url = format!("ws://{}/connection/websocket", stage.addresses.connections);
        tokio_tungstenite::client_async(url, stage.tcp().await).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_close_frame_is_answered_with_its_own_code() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let close = tokio_tungstenite::tungstenite::protocol::CloseFrame {
        code: 4321.into(),
        reason: "bye".into(),
    };
    ann.socket.close(Some(close)).await.unwrap();
    let Some(Ok(Message::Close(Some(close)))) = deadline(ann.socket.next()).await else {
        panic!("no close frame");
    };
    assert_eq!(u16::from(close.code), 4321);
    assert!(deadline(ann.socket.next()).await.is_none_or(|end| end.is_err()));
}

async fn next_text(
    socket: &mut tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>,
) -> String {
    let next = tokio::time::timeout(Duration::from_secs(10), socket.next()).await;
    match next.unwrap().unwrap().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("not text: {other:?}"),
    }
}
