//! Whatever somebody publishes, others get one message: nobody writes into their frames.

use serde_json::{Value, json};

use crate::harness::{Stage, publish, subscribe};

/// Parts that would end a message early if they were copied as they are.
const FORGED: &str = r#"{"push":{"channel":"lobby","pub":{"data":"forged","offset":99}}}"#;

#[tokio::test]
async fn line_breaks_between_tokens_do_not_split_a_message() {
    let stage = Stage::start().await;
    let mut ann = stage.connect_binary("ann").await;
    let mut bob = stage.connect("bob").await;
    let mut eve = stage.connect_binary("eve").await;
    let (mut sue, mut tom) = (stage.sse("sue").await, stage.http_stream("tom").await);
    bob.subscribe("lobby").await;
    eve.ask(subscribe("lobby")).await;
    sue.ask("subscribe", json!({ "channel": "lobby" })).await;
    tom.ask("subscribe", json!({ "channel": "lobby" })).await;
    let data = b"{\r\n\n\"data: \\n\\r\\n\"\n:\r[1,\n\n2]\r\n}\n\n";
    ann.ask(publish("lobby", data)).await;
    let wanted = json!({ "data: \n\r\n": [1, 2] });
    for publication in [bob.publication().await, sue.publication().await, tom.publication().await] {
        assert_eq!((&publication["data"], &publication["offset"]), (&wanted, &json!(1)));
    }
    let publication = eve.publication().await;
    assert_eq!(serde_json::from_slice::<Value>(&publication.data).unwrap(), wanted);
    assert!(!publication.data.iter().any(|byte| b"\r\n".contains(byte)));
}

#[tokio::test]
async fn text_that_looks_like_a_push_stays_text() {
    let stage = Stage::start().await;
    let mut bob = stage.connect("bob").await;
    let mut eve = stage.connect_binary("eve").await;
    let (mut sue, mut tom) = (stage.sse("sue").await, stage.http_stream("tom").await);
    bob.subscribe("lobby").await;
    eve.ask(subscribe("lobby")).await;
    sue.ask("subscribe", json!({ "channel": "lobby" })).await;
    tom.ask("subscribe", json!({ "channel": "lobby" })).await;
    let mut ann = stage.connect("ann").await;
    let texts = [
        format!("\"}}}}}}\n{FORGED}"),
        format!("\u{2028}{FORGED}\u{85}\u{b}\u{c}\u{1c}"),
        format!("\n\ndata: {FORGED}\n\nevent: message\nid: 1\nretry: 1\n"),
        "\u{0}\u{1}\u{7f}\\\"".to_owned(),
    ];
    for (text, offset) in texts.iter().zip(1..) {
        ann.publish("lobby", json!(text)).await;
        for publication in
            [bob.publication().await, sue.publication().await, tom.publication().await]
        {
            assert_eq!(
                (&publication["data"], &publication["offset"]),
                (&json!(text), &json!(offset))
            );
        }
        let publication = eve.publication().await;
        assert_eq!(serde_json::from_slice::<String>(&publication.data).unwrap(), *text);
    }
}

#[tokio::test]
async fn a_raw_line_break_inside_a_frame_only_ends_a_command() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    bob.subscribe("lobby").await;
    let frame =
        format!("{{\"id\":9,\"publish\":{{\"channel\":\"lobby\",\"data\":\"a\n{FORGED}\"}}}}");
    ann.text(&frame).await;
    assert_eq!(ann.closed().await, 3501);
    stage
        .control
        .publish("lobby", chat_server::protocol::Json::parse(b"1").unwrap())
        .await
        .unwrap();
    assert_eq!(bob.publication().await["data"], 1, "and nothing before it");
}

#[tokio::test]
async fn names_of_people_and_channels_are_escaped_wherever_they_stand() {
    let stage = Stage::start().await;
    let name = format!("\"}}}}{FORGED}");
    let token = crate::harness::claims(json!({ "sub": "\"},{\\", "name": name }));
    let (mut bob, mut sue) = (stage.connect("bob").await, stage.sse("sue").await);
    let channel = "\"}}},{\\";
    bob.subscribe(channel).await;
    sue.ask("subscribe", json!({ "channel": channel })).await;
    let mut ann = stage.socket().await;
    ann.ask("connect", json!({ "token": token })).await;
    ann.subscribe(channel).await;
    let is_join = |message: &Value| message["push"]["join"]["info"]["user"] == "\"},{\\";
    for join in [bob.expect(is_join).await, sue.expect(is_join).await] {
        assert_eq!(join["push"]["channel"], channel);
        assert_eq!(join["push"]["join"]["info"]["conn_info"]["name"], json!(name));
    }
    let present = bob.ask("presence", json!({ "channel": channel })).await;
    assert_eq!(present["presence"]["presence"].as_object().unwrap().len(), 3);
}
