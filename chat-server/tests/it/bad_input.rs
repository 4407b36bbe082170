//! What is no command, what makes no sense, and what is too much, in JSON: each ends with the code
//! the protocol gives it and costs nobody else anything.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

use crate::harness::{Client, Stage};

/// A frame may have this many bytes.
const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Sends each text on a connection of its own and expects the end of it.
async fn all_end_with(code: u16, texts: &[&str]) {
    let stage = Stage::start().await;
    for text in texts {
        let mut client = stage.anonymous().await;
        client.text(text).await;
        assert_eq!(client.closed().await, code, "{text:?}");
    }
    stage.connect("ann").await.publish("lobby", json!("all is well")).await;
}

#[tokio::test]
async fn what_is_not_json_ends_the_connection() {
    let texts =
        ["nonsense", "{", "}", "{}}", "{\"id\":1,\"ping\":{}", "\u{feff}{}", "", " \n", "{'a':1}"];
    all_end_with(3501, &texts).await;
}

#[tokio::test]
async fn json_that_is_no_command_ends_the_connection() {
    let texts = [
        "[]",
        "1",
        "null",
        "\"{}\"",
        r#"{"id":1}"#,
        r#"{"id":1,"ping":null}"#,
        r#"{"id":-1,"ping":{}}"#,
        r#"{"id":"1","ping":{}}"#,
        r#"{"id":4294967296,"ping":{}}"#,
        r#"{"id":1,"id":2,"ping":{}}"#,
        r#"{"push":{"channel":"lobby","pub":{"data":1}}}"#,
    ];
    all_end_with(3501, &texts).await;
}

#[tokio::test]
async fn several_requests_in_one_command_end_the_connection() {
    let texts = [
        r#"{"id":2,"ping":{},"subscribe":{"channel":"lobby"}}"#,
        r#"{"id":2,"ping":{},"ping":{}}"#,
        r#"{"id":2,"publish":{"channel":"lobby","data":1},"connect":{}}"#,
    ];
    all_end_with(3501, &texts).await;
}

#[tokio::test]
async fn an_unknown_command_ends_the_connection_and_an_unknown_method_is_answered() {
    all_end_with(3501, &[r#"{"id":2,"fly":{}}"#, r#"{"id":2,"PING":{}}"#]).await;
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let error = ann.refused("rpc", json!({ "method": "fly", "data": {} })).await;
    assert_eq!((&error["code"], &error["reason"]), (&json!(108), &json!("unknown_method")));
    assert_eq!(ann.ask("ping", json!({})).await["ping"], json!({}));
}

#[tokio::test]
async fn a_command_needs_an_id_unless_nobody_waits_for_an_answer() {
    let without = [
        r#"{"ping":{}}"#,
        r#"{"id":0,"ping":{}}"#,
        r#"{"id":null,"subscribe":{"channel":"lobby"}}"#,
    ];
    all_end_with(3501, &without).await;
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    ann.text(r#"{"send":{"data":{"unknown":true}}}"#).await;
    ann.text(r#"{"id":0,"send":{}}"#).await;
    assert_eq!(ann.ask("ping", json!({})).await["ping"], json!({}));
}

#[tokio::test]
async fn a_repeated_id_is_answered_again() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    ann.text("{\"id\":7,\"ping\":{}}\n{\"id\":7,\"presence_stats\":{\"channel\":\"lobby\"}}").await;
    assert_eq!(ann.expect(|message| message["id"] == 7).await["ping"], json!({}));
    let second = ann.expect(|message| message["id"] == 7).await;
    assert_eq!(second["presence_stats"]["num_clients"], 0);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_is_answered_and_the_connection_goes_on() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    for (method, body, reason) in [
        ("subscribe", json!({ "channel": 5 }), "malformed"),
        ("subscribe", json!([]), "malformed"),
        ("history", json!({ "channel": "lobby", "limit": "all" }), "malformed"),
        ("publish", json!({ "channel": "lobby" }), "data_missing"),
        ("publish", json!({ "channel": "lobby", "data": null }), "data_missing"),
        ("publish", json!({ "data": 1 }), "channel_empty"),
        ("subscribe", json!({}), "channel_empty"),
    ] {
        let error = ann.refused(method, body.clone()).await;
        assert_eq!((&error["code"], &error["reason"]), (&json!(107), &json!(reason)), "{body}");
    }
    for body in [json!({ "type": 1 }), json!({ "delta": "fossil" }), json!({ "tf": {} })] {
        let mut body = body;
        body["channel"] = json!("lobby");
        assert_eq!(ann.refused("subscribe", body).await["code"], 108);
    }
    ann.subscribe("lobby").await;
    assert_eq!(ann.refused("subscribe", json!({ "channel": "lobby" })).await["code"], 105);
}

#[tokio::test]
async fn a_malformed_channel_is_refused_by_every_command_that_names_one() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let long = "x".repeat(256);
    let names = [
        ("", "channel_empty"),
        (":a", "channel_empty"),
        ("news:", "channel_empty"),
        ("a b", "channel_character"),
        ("a\nb", "channel_character"),
        ("a\u{202e}b", "channel_character"),
        (&*long, "channel_too_long"),
    ];
    for method in ["subscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"] {
        for (name, reason) in names {
            let error = ann.refused(method, json!({ "channel": name, "data": 1 })).await;
            let found = (&error["code"], &error["reason"], &error["field"]);
            assert_eq!(found, (&json!(107), &json!(reason), &json!("channel")), "{method} {name}");
            if name.len() > 255 {
                assert_eq!((&error["limit"], &error["got"]), (&json!(255), &json!(256)));
            }
        }
    }
    ann.subscribe(&"x".repeat(255)).await;
}

#[tokio::test]
async fn an_unknown_channel_is_refused_by_every_command_that_names_one() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    for method in ["subscribe", "publish", "presence", "presence_stats", "history", "sub_refresh"] {
        for name in ["nowhere:1", "room:1", "stream:1"] {
            let error = ann.refused(method, json!({ "channel": name, "data": 1 })).await;
            assert_eq!(error["code"], 102, "{method} {name}");
        }
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection_and_one_at_the_limit_does_not() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let ping = r#"{"id":9,"ping":{}}"#;
    let spaces = " ".repeat(FRAME_BYTES_MAX - ping.len());
    ann.text(&format!("{ping}{spaces}")).await;
    ann.expect(|message| message["id"] == 9).await;
    ann.text(&format!("{ping} {spaces}")).await;
    assert_eq!(ann.closed().await, 1009);
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_the_limit_and_one_at_the_limit_is_taken() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    // Two quotation marks belong to the body.
    ann.publish("lobby", json!("x".repeat(8190))).await;
    let data = json!("x".repeat(8191));
    let error = ann.refused("publish", json!({ "channel": "lobby", "data": data })).await;
    let got = (&error["code"], &error["limit"], &error["got"], &error["field"]);
    assert_eq!(got, (&json!(413), &json!(8192), &json!(8193), &json!("data")));
}

#[tokio::test]
async fn a_body_nested_too_deep_is_refused() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let publish = |id: u32, depth| {
        format!(r#"{{"id":{id},"publish":{{"channel":"lobby","data":{}}}}}"#, nested(depth))
    };
    ann.text(&publish(51, 57)).await;
    assert!(ann.expect(|message| message["id"] == 51).await["publish"].is_object());
    ann.text(&publish(52, 4000)).await;
    assert_eq!(ann.expect(|message| message["id"] == 52).await["error"]["code"], 107);
}

#[tokio::test]
async fn binary_on_a_json_connection_ends_it() {
    let stage = Stage::start().await;
    for mut client in [stage.socket().await, stage.connect("ann").await] {
        send(&mut client, Message::binary(r#"{"id":2,"ping":{}}"#)).await;
        assert_eq!(client.closed().await, 1003);
    }
}

#[tokio::test]
async fn text_that_is_not_utf8_ends_the_connection() {
    let stage = Stage::start().await;
    for bytes in [&b"{\"id\":2,\"ping\":\"\xff\"}"[..], b"\xed\xa0\x80", b"\xc3"] {
        let mut ann = stage.connect("ann").await;
        let frame = Frame::message(bytes.to_vec(), OpCode::Data(Data::Text), true);
        send(&mut ann, Message::Frame(frame)).await;
        assert_eq!(ann.closed().await, 1007);
    }
}

#[tokio::test]
async fn commands_around_a_bad_one_run_until_it_ends_the_connection() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    bob.subscribe("lobby").await;
    let publish = |id: u32, data: u32| {
        json!({ "id": id, "publish": { "channel": "lobby", "data": data } }).to_string()
    };
    let lines = [&publish(2, 1), r#"{"id":3,"subscribe":{}}"#, &publish(4, 2), "x", &publish(5, 3)];
    ann.text(&lines.join("\n")).await;
    assert!(ann.expect(|message| message["id"] == 2).await["publish"].is_object());
    assert_eq!(ann.expect(|message| message["id"] == 3).await["error"]["code"], 107);
    assert!(ann.expect(|message| message["id"] == 4).await["publish"].is_object());
    assert_eq!(ann.closed().await, 3501);
    assert_eq!(bob.publication().await["data"], 1);
    assert_eq!(bob.publication().await["data"], 2);
    bob.expect_none("what follows nonsense", |message| message["push"]["pub"]["data"] == 3).await;
}

#[tokio::test]
async fn ten_thousand_subscriptions_end_in_a_refusal_and_others_go_on() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    bob.subscribe("c0").await;
    let command =
        |id: usize| json!({ "id": id + 10, "subscribe": { "channel": format!("c{id}") } });
    let commands: Vec<String> = (0..10_000).map(|id| command(id).to_string()).collect();
    for frame in commands.chunks(1000) {
        // The server may have had enough before the last of them.
        let sent = futures_util::SinkExt::send(&mut ann.socket, Message::text(frame.join("\n")));
        if sent.await.is_err() {
            break;
        }
    }
    assert!(ann.expect(|message| message["id"] == 10).await["subscribe"].is_object());
    let last = ann.expect(|message| message["id"] == 137).await;
    assert!(last["subscribe"].is_object(), "the 128th: {last}");
    assert_eq!(ann.expect(|message| message["id"] == 138).await["error"]["code"], 106);
    assert_eq!(ann.expect(|message| message["id"] == 300).await["error"]["code"], 111);
    assert_eq!(ann.closed().await, 3509);
    bob.publish("c0", json!(1)).await;
    assert_eq!(bob.publication().await["data"], 1);
}

async fn send(client: &mut Client, message: Message) {
    futures_util::SinkExt::send(&mut client.socket, message).await.unwrap();
}

#[tokio::test]
async fn nothing_but_connect_may_come_first_and_nothing_but_once() {
    let stage = Stage::start().await;
    for first in [r#"{"id":1,"ping":{}}"#, r#"{"id":1,"subscribe":{"channel":"lobby"}}"#] {
        let mut client = stage.socket().await;
        client.text(first).await;
        assert_eq!(client.closed().await, 3501, "{first}");
    }
    let mut ann = stage.connect("ann").await;
    ann.send("connect", json!({})).await;
    assert_eq!(ann.closed().await, 3501);
}

#[tokio::test]
async fn commands_behind_connect_in_the_first_frame_run_after_it() {
    let stage = Stage::start().await;
    let mut client = stage.socket().await;
    let lines = [
        r#"{"id":1,"connect":{}}"#,
        r#"{"id":2,"subscribe":{"channel":"lobby"}}"#,
        r#"{"id":3,"publish":{"channel":"lobby","data":"hi"}}"#,
    ];
    client.text(&lines.join("\n")).await;
    let replies: [Value; 3] = [
        client.expect(|message| message["id"] == 1).await["connect"].clone(),
        client.expect(|message| message["id"] == 2).await["subscribe"].clone(),
        client.expect(|message| message["id"] == 3).await["publish"].clone(),
    ];
    assert!(replies.iter().all(Value::is_object), "{replies:?}");
    assert_eq!(client.publication().await["data"], "hi");
}
