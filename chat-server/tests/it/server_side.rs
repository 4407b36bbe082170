//! What the platform's backend does to its clients.

use chat_server::protocol::{DisconnectCode, Json, UnsubscribeCode};
use proto::client::v1;
use serde_json::{Value, json};

use crate::harness::{Stage, subscribe, unix};

fn json_of(value: &Value) -> Json {
    Json::from_value(value).unwrap()
}

#[tokio::test]
async fn a_person_is_disconnected_everywhere_with_the_code_of_the_order() {
    let stage = Stage::start().await;
    for &code in DisconnectCode::ALL {
        let (mut first, mut second) =
            (stage.connect("ann").await, stage.connect_binary("ann").await);
        let mut stream = stage.http_stream("ann").await;
        assert_eq!(stage.control.disconnect("ann", code).await.here, 3);
        assert_eq!(u32::from(first.closed().await), code.code());
        assert_eq!(u32::from(second.closed().await), code.code());
        let push = stream.expect(|message| message["push"]["disconnect"].is_object()).await;
        let push = push["push"]["disconnect"].clone();
        assert_eq!((&push["code"], &push["reason"]), (&json!(code.code()), &json!(code.reason())));
        assert_eq!(push["reconnect"].as_bool().unwrap_or_default(), code.reconnect(), "{code}");
        assert_eq!(stream.json().await, None, "the response ends");
    }
    let mut bob = stage.connect("bob").await;
    assert_eq!(stage.control.disconnect("nobody", DisconnectCode::Forced).await.here, 0);
    bob.ask("ping", json!({})).await;
}

#[tokio::test]
async fn what_was_published_before_a_disconnect_arrives_before_it() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    ann.subscribe("lobby").await;
    // One turn of the server sees all of it.
    for number in 1..=3 {
        stage.control.publish("lobby", json_of(&json!(number))).await.unwrap();
    }
    assert_eq!(stage.control.disconnect("ann", DisconnectCode::ForceReconnect).await.here, 1);
    for number in 1..=3 {
        assert_eq!(ann.publication().await["data"], number);
    }
    assert_eq!(ann.closed().await, 3011);
}

#[tokio::test]
async fn what_was_published_before_an_unsubscription_arrives_before_it() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    ann.subscribe("lobby").await;
    stage.control.publish("lobby", json_of(&json!(1))).await.unwrap();
    assert_eq!(
        stage.control.unsubscribe("ann", "lobby", UnsubscribeCode::InsufficientState).await.here,
        1
    );
    stage.control.publish("lobby", json_of(&json!(2))).await.unwrap();
    let kind = |message: &Value| {
        message["push"]["pub"].is_object() || message["push"]["unsubscribe"].is_object()
    };
    assert_eq!(ann.expect(kind).await["push"]["pub"]["data"], 1);
}

#[tokio::test]
async fn a_person_is_taken_out_of_a_channel_with_the_code_of_the_order() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let mut second = stage.connect_binary("ann").await;
    for &code in UnsubscribeCode::ALL {
        ann.subscribe("lobby").await;
        second.ask(subscribe("lobby")).await;
        assert_eq!(stage.control.unsubscribe("ann", "lobby", code).await.here, 2);
        let push = ann.push("unsubscribe").await;
        let wanted = json!({ "code": code.code(), "reason": code.reason() });
        assert_eq!((&push["channel"], &push["unsubscribe"]), (&json!("lobby"), &wanted));
        let code_of = |body: Option<v1::push::Body>| match body {
            Some(v1::push::Body::Unsubscribe(push)) => Some(push.code),
            _ => None,
        };
        while code_of(second.push().await.body) != Some(code.code()) {}
        stage.control.publish("lobby", json_of(&json!(code.code()))).await.unwrap();
        ann.expect_none("after it", |message| message["push"]["pub"].is_object()).await;
    }
    assert_eq!(
        stage.control.unsubscribe("ann", "elsewhere", UnsubscribeCode::Server).await.here,
        2
    );
    ann.expect_none("where it was not", |message| message["push"]["unsubscribe"].is_object()).await;
}

#[tokio::test]
async fn a_person_is_put_into_a_channel_and_hears_it() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    stage.control.publish("lobby", json_of(&json!("before"))).await.unwrap();
    assert_eq!(stage.control.subscribe("ann", "lobby").await.here, 1);
    let push = ann.push("subscribe").await;
    assert_eq!(push["channel"], "lobby");
    let sub = &push["subscribe"];
    assert_eq!((&sub["recoverable"], &sub["positioned"]), (&json!(true), &json!(true)));
    assert_eq!((&sub["offset"], sub["epoch"].is_string()), (&json!(1), true));
    stage.control.publish("lobby", json_of(&json!("after"))).await.unwrap();
    let publication = ann.publication().await;
    assert_eq!((&publication["data"], &publication["offset"]), (&json!("after"), &json!(2)));
    assert_eq!(stage.control.subscribe("ann", "lobby").await.here, 1);
    ann.expect_none("twice", |message| message["push"]["subscribe"].is_object()).await;
    assert_eq!(ann.refused("subscribe", json!({ "channel": "lobby" })).await["code"], 105);
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    ann.subscribe("lobby").await;
}

#[tokio::test]
async fn channels_that_do_not_exist_are_no_place_to_be_put_into() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    for channel in ["nowhere:1", "room:1", "", "a b"] {
        assert_eq!(stage.control.subscribe("ann", channel).await.here, 1);
        assert!(stage.control.publish(channel, json_of(&json!(1))).await.is_err(), "{channel}");
    }
    ann.expect_none("a push", |message| message["push"].is_object()).await;
}

#[tokio::test]
async fn a_message_goes_to_every_connection_of_a_person_and_to_nobody_else() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let (mut second, mut third) = (stage.connect_binary("ann").await, stage.sse("ann").await);
    let data = json!({ "notice": "maintenance" });
    assert_eq!(stage.control.send("ann", json_of(&data)).await.here, 3);
    assert_eq!(ann.push("message").await["message"]["data"], data);
    let is_message = |message: &Value| message["push"]["message"].is_object();
    assert_eq!(third.expect(is_message).await["push"]["message"]["data"], data);
    match second.push().await.body {
        Some(v1::push::Body::Message(message)) => {
            assert_eq!(serde_json::from_slice::<Value>(&message.data).unwrap(), data);
        }
        other => panic!("{other:?}"),
    }
    bob.expect_none("of another", is_message).await;
}

#[tokio::test]
async fn the_feed_reaches_every_connection_of_a_person_and_is_recovered_at_connect() {
    let stage = Stage::start().await;
    let mut ann = stage.socket().await;
    let token = crate::harness::token("ann");
    let first = ann.ask("connect", json!({ "token": token })).await["connect"].clone();
    let feed = &first["subs"]["user:ann"];
    assert_eq!((&feed["recoverable"], &feed["offset"]), (&json!(true), &Value::Null));
    stage.control.publish("user:ann", json_of(&json!(1))).await.unwrap();
    assert_eq!(ann.push("pub").await["channel"], "user:ann");
    drop(ann);
    for number in 2..=400 {
        stage.control.publish("user:ann", json_of(&json!(number))).await.unwrap();
    }
    let mut ann = stage.socket().await;
    let from = json!({ "recover": true, "offset": 1, "epoch": feed["epoch"] });
    let connect = json!({ "token": token, "subs": { "user:ann": from, "user:bob": from } });
    let again = ann.ask("connect", connect).await["connect"]["subs"].clone();
    assert_eq!(again.as_object().unwrap().len(), 1, "the feed of nobody else");
    let missed = again["user:ann"]["publications"].as_array().unwrap().clone();
    assert_eq!(missed[0]["data"], 2);
    assert!((200..=256).contains(&missed.len()), "a first page: {}", missed.len());
    assert_eq!(again["user:ann"]["recovered"], true);
    for number in missed.len() + 2..=400 {
        assert_eq!(ann.publication().await["data"], number);
    }
}

#[tokio::test]
async fn a_feed_that_cannot_be_continued_is_said_to_be_lost() {
    let stage = Stage::start().await;
    let first = stage.connect("ann").await;
    stage.control.publish("user:ann", json_of(&json!(1))).await.unwrap();
    for from in [
        json!({ "recover": true, "offset": 1, "epoch": "another" }),
        json!({ "recover": true, "offset": 2 }),
    ] {
        let mut ann = stage.socket().await;
        let subs = json!({ "user:ann": from });
        let connect = json!({ "token": crate::harness::token("ann"), "subs": subs });
        let feed = ann.ask("connect", connect).await["connect"]["subs"]["user:ann"].clone();
        assert_eq!((&feed["was_recovering"], &feed["recovered"]), (&json!(true), &Value::Null));
        assert_eq!((&feed["offset"], &feed["publications"]), (&json!(1), &Value::Null));
    }
    drop(first);
}

#[tokio::test]
async fn the_server_changes_how_long_a_connection_is_good() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    assert_eq!(stage.control.refresh("ann", Some(unix() + 600)).await.here, 1);
    let push = ann.push("refresh").await["refresh"].clone();
    let ttl = push["ttl"].as_u64().unwrap();
    assert!(push["expires"] == true && (590..=600).contains(&ttl), "{push}");
    assert_eq!(stage.control.refresh("ann", None).await.here, 1);
    assert_eq!(ann.push("refresh").await["refresh"], json!({}));
    assert_eq!(stage.control.refresh("bob", Some(unix() - 24)).await.here, 1);
    assert_eq!(bob.closed().await, 3005);
    ann.ask("ping", json!({})).await;
}

#[tokio::test]
async fn somebody_without_a_name_cannot_be_named() {
    let stage = Stage::start().await;
    let mut nobody = stage.anonymous().await;
    assert_eq!(stage.control.disconnect("", DisconnectCode::Forced).await.here, 0);
    nobody.ask("ping", json!({})).await;
}
