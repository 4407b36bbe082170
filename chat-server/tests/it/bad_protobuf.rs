//! Bad input on a Protobuf connection.

use futures_util::SinkExt;
use prost::Message as _;
use proto::client::v1;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Stage, publish, subscribe};

fn ping(id: u32) -> Vec<u8> {
    let ping = Some(v1::PingRequest {});
    v1::Command { id, ping, ..Default::default() }.encode_length_delimited_to_vec()
}

#[tokio::test]
async fn truncated_protobuf_ends_the_connection() {
    let stage = Stage::start().await;
    let mut whole = subscribe("lobby");
    whole.id = 2;
    let whole = whole.encode_length_delimited_to_vec();
    for length in 1..whole.len() {
        let mut ann = stage.connect_binary("ann").await;
        ann.bytes(whole[..length].to_vec()).await;
        assert_eq!(ann.closed().await, 3501, "{length} of {} bytes", whole.len());
    }
}

#[tokio::test]
async fn bytes_that_are_no_command_end_the_connection() {
    let stage = Stage::start().await;
    let both = v1::Command {
        id: 2,
        ping: Some(v1::PingRequest {}),
        rpc: Some(v1::RpcRequest::default()),
        ..Default::default()
    };
    for bytes in [
        Vec::new(),
        b"{\"id\":1,\"ping\":{}}".to_vec(),
        vec![0xff; 11],
        // A length of 2^63 and nothing behind it.
        vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        // An id alone, a request without an id, two requests, a channel that is not UTF-8.
        vec![2, 8, 1],
        ping(0),
        both.encode_length_delimited_to_vec(),
        vec![7, 8, 2, 0x2a, 3, 0x0a, 1, 0xff],
    ] {
        let mut ann = stage.connect_binary("ann").await;
        ann.bytes(bytes.clone()).await;
        assert_eq!(ann.closed().await, 3501, "{bytes:?}");
    }
}

#[tokio::test]
async fn data_that_is_not_json_is_refused_and_reaches_nobody() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect_binary("ann").await, stage.connect("bob").await);
    bob.subscribe("lobby").await;
    for data in [
        &b"hello"[..],
        b"{\"a\":1",
        b"1 2",
        b"\"\xff\"",
        b"\"a\nb\"",
        b"1}}\n{\"push\":{\"channel\":\"lobby\",\"pub\":{\"data\":\"forged\"}}}",
        b"\x08\x01",
    ] {
        let error = ann.refused(publish("lobby", data)).await;
        assert_eq!((error.code, error.reason.as_str()), (107, "data_not_json"), "{data:?}");
    }
    assert_eq!(ann.refused(publish("lobby", b"")).await.reason, "data_missing");
    ann.ask(publish("lobby", b"\"good\"")).await;
    assert_eq!(bob.publication().await["data"], "good");
}

#[tokio::test]
async fn errors_say_as_much_as_in_json() {
    let stage = Stage::start().await;
    let mut ann = stage.connect_binary("ann").await;
    let error = ann.refused(subscribe(&"x".repeat(256))).await;
    assert_eq!((error.code, error.field.as_str()), (107, "channel"));
    assert_eq!((error.limit, error.got), (Some(255), Some(256)));
    assert!(!error.temporary && !error.message.is_empty());
    assert_eq!(ann.refused(subscribe("nowhere:1")).await.code, 102);
}

#[tokio::test]
async fn text_on_a_protobuf_connection_ends_it() {
    let stage = Stage::start().await;
    let mut ann = stage.connect_binary("ann").await;
    ann.socket.send(Message::text(r#"{"id":2,"ping":{}}"#)).await.unwrap();
    assert_eq!(ann.closed().await, 1003);
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection() {
    let stage = Stage::start().await;
    let mut ann = stage.connect_binary("ann").await;
    ann.bytes(vec![0; 64 * 1024]).await;
    ann.ask(v1::Command { ping: Some(v1::PingRequest {}), ..Default::default() }).await;
    ann.bytes(vec![0; 64 * 1024 + 1]).await;
    assert_eq!(ann.closed().await, 1009);
}
