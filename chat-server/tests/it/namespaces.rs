//! What `CHANNELS_FILE` allows and keeps: every switch both ways, and subscription tokens.

use std::io::Write;

use chassis::testing::Issuer;
use serde_json::{Value, json};

use crate::harness::{Client, Stage, claims, token, unix};

/// A server whose channels of the namespace `on` let everyone in and publish, and have these
/// options, while those of `off` have no others.
async fn stage_with(options: &str) -> Stage {
    let basics = "allow_subscribe = true\nallow_publish = true\n";
    with_file(&format!("[namespaces.on]\n{basics}{options}\n[namespaces.off]\n{basics}")).await
}

async fn with_file(text: &str) -> Stage {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    // Read before this returns.
    let path = file.path().to_str().unwrap();
    Stage::with(&[("CHANNELS_FILE", path), ("COMMAND_RATE", "100000")]).await
}

async fn error_of(client: &mut Client, method: &str, channel: &str) -> (u64, String) {
    let body = json!({ "channel": channel, "data": 1, "limit": -1 });
    let error = client.refused(method, body).await;
    (error["code"].as_u64().unwrap(), error["reason"].as_str().unwrap_or_default().to_owned())
}

fn denied(reason: &str) -> (u64, String) {
    (103, reason.to_owned())
}

#[tokio::test]
async fn only_namespaces_of_the_file_exist() {
    let stage = with_file("[namespaces.news]\nallow_subscribe = true\n").await;
    let mut ann = stage.connect("ann").await;
    ann.subscribe("news:today").await;
    for channel in ["lobby", "sport:today", "new:s", "NEWS:today"] {
        assert_eq!(error_of(&mut ann, "subscribe", channel).await.0, 102, "{channel}");
    }
}

#[tokio::test]
async fn channels_without_a_namespace_have_a_table_of_their_own() {
    let stage = with_file("[without_namespace]\nallow_subscribe = true\n").await;
    let mut ann = stage.connect("ann").await;
    ann.subscribe("lobby").await;
    assert_eq!(error_of(&mut ann, "publish", "lobby").await, denied("not_allowed"));
    assert_eq!(error_of(&mut ann, "subscribe", "news:today").await.0, 102);
}

#[tokio::test]
async fn allow_subscribe_lets_everyone_in() {
    let stage = with_file("[namespaces.on]\nallow_subscribe = true\n[namespaces.off]\n").await;
    let mut nobody = stage.anonymous().await;
    nobody.subscribe("on:1").await;
    assert_eq!(error_of(&mut nobody, "subscribe", "off:1").await, denied("not_allowed"));
}

#[tokio::test]
async fn allow_publish_lets_clients_publish() {
    let stage = with_file(
        "[namespaces.on]\nallow_subscribe = true\nallow_publish = true\n\
         [namespaces.off]\nallow_subscribe = true\n",
    )
    .await;
    let mut ann = stage.connect("ann").await;
    ann.subscribe("on:1").await;
    ann.subscribe("off:1").await;
    ann.publish("on:1", json!(1)).await;
    assert_eq!(ann.publication().await["data"], 1);
    assert_eq!(error_of(&mut ann, "publish", "off:1").await, denied("not_allowed"));
    stage
        .control
        .publish("off:1", chat_server::protocol::Json::parse(b"2").unwrap())
        .await
        .unwrap();
    assert_eq!(ann.publication().await["data"], 2, "the server always may");
}

#[tokio::test]
async fn history_is_kept_by_size_and_read_where_it_is_allowed() {
    let options = "history_size = 2\nhistory_ttl = \"1h\"\nallow_history = true";
    let stage = stage_with(options).await;
    let mut ann = stage.connect("ann").await;
    for number in 1..=3 {
        assert_eq!(ann.publish("on:1", json!(number)).await["offset"], number);
        assert_eq!(ann.publish("off:1", json!(number)).await, json!({}), "no offset, no epoch");
    }
    let page =
        ann.ask("history", json!({ "channel": "on:1", "limit": -1 })).await["history"].clone();
    let data: Vec<&Value> =
        page["publications"].as_array().unwrap().iter().map(|one| &one["data"]).collect();
    assert_eq!((data, &page["offset"]), (vec![&json!(2), &json!(3)], &json!(3)));
    assert_eq!(error_of(&mut ann, "history", "off:1").await, denied("not_allowed"));
}

#[tokio::test]
async fn history_that_is_not_kept_is_not_available_and_kept_history_may_be_private() {
    let stage = with_file(
        "[namespaces.none]\nallow_subscribe = true\nallow_history = true\n\
         [namespaces.private]\nhistory_size = 5\nhistory_ttl = 60\nallow_subscribe = true\n\
         allow_publish = true\n\
         [namespaces.closed]\nhistory_size = 5\nhistory_ttl = 60\nallow_history = true\n",
    )
    .await;
    let mut ann = stage.connect("ann").await;
    assert_eq!(error_of(&mut ann, "history", "none:1").await, (108, "no_history".to_owned()));
    ann.publish("private:1", json!(1)).await;
    assert_eq!(error_of(&mut ann, "history", "private:1").await, denied("not_allowed"));
    // Who may not subscribe may not read either.
    assert_eq!(error_of(&mut ann, "history", "closed:1").await, denied("not_subscribed"));
}

#[tokio::test]
async fn history_ends_with_its_time() {
    let stage = stage_with("history_size = 9\nhistory_ttl = 1\nallow_history = true").await;
    let mut ann = stage.connect("ann").await;
    ann.publish("on:1", json!(1)).await;
    let page = json!({ "channel": "on:1", "limit": -1 });
    let first = ann.ask("history", page.clone()).await["history"].clone();
    // Asked again until it is gone; its position stays.
    let mut last = first.clone();
    while last["publications"].is_array() {
        last = ann.ask("history", page.clone()).await["history"].clone();
    }
    assert_eq!((&last["offset"], &last["epoch"]), (&json!(1), &first["epoch"]));
}

#[tokio::test]
async fn force_recovery_makes_every_subscription_recoverable_and_others_may_ask_for_it() {
    let kept = "history_size = 9\nhistory_ttl = 60\nallow_subscribe = true\n";
    let stage = with_file(&format!(
        "[namespaces.on]\nforce_recovery = true\n{kept}[namespaces.asked]\n{kept}\
         [namespaces.off]\nallow_subscribe = true\n",
    ))
    .await;
    let mut ann = stage.connect("ann").await;
    let mut subscribe = async |channel: &str, recoverable: bool, positioned: bool| {
        let body =
            json!({ "channel": channel, "recoverable": recoverable, "positioned": positioned });
        let reply = ann.ask("subscribe", body).await["subscribe"].clone();
        let flag = |key: &str| reply[key].as_bool().unwrap_or_default();
        assert_eq!(flag("positioned"), reply["epoch"].is_string(), "{reply}");
        (flag("recoverable"), flag("positioned"))
    };
    assert_eq!(subscribe("on:1", false, false).await, (true, true));
    assert_eq!(subscribe("asked:1", false, false).await, (false, false));
    assert_eq!(subscribe("asked:2", true, false).await, (true, true));
    assert_eq!(subscribe("asked:3", false, true).await, (false, true));
    assert_eq!(subscribe("off:1", true, true).await, (false, false));
}

#[tokio::test]
async fn presence_is_kept_and_read_where_both_are_allowed() {
    let stage = with_file(
        "[namespaces.on]\nallow_subscribe = true\npresence = true\nallow_presence = true\n\
         [namespaces.private]\nallow_subscribe = true\npresence = true\n\
         [namespaces.none]\nallow_subscribe = true\nallow_presence = true\n",
    )
    .await;
    let mut ann = stage.connect("ann").await;
    for channel in ["on:1", "private:1", "none:1"] {
        ann.subscribe(channel).await;
    }
    let reply = ann.ask("presence", json!({ "channel": "on:1" })).await;
    assert_eq!(reply["presence"]["presence"].as_object().unwrap().len(), 1);
    for method in ["presence", "presence_stats"] {
        assert_eq!(error_of(&mut ann, method, "private:1").await, denied("not_allowed"));
        assert_eq!(error_of(&mut ann, method, "none:1").await, (108, "no_presence".to_owned()));
    }
}

#[tokio::test]
async fn joins_go_to_nobody_to_those_who_ask_or_to_everyone() {
    let stage = with_file(
        "[namespaces.none]\nallow_subscribe = true\n\
         [namespaces.asked]\nallow_subscribe = true\njoin_leave = true\n\
         [namespaces.forced]\nallow_subscribe = true\nforce_push_join_leave = true\n",
    )
    .await;
    let (mut asks, mut does_not) = (stage.connect("asks").await, stage.connect("not").await);
    for channel in ["none:1", "asked:1", "forced:1"] {
        asks.ask("subscribe", json!({ "channel": channel, "join_leave": true })).await;
        does_not.subscribe(channel).await;
    }
    let mut ann = stage.connect("ann").await;
    let is_of_ann = |message: &Value| {
        ["join", "leave"].iter().any(|kind| message["push"][kind]["info"]["user"] == "ann")
    };
    for channel in ["none:1", "asked:1", "forced:1"] {
        ann.subscribe(channel).await;
        ann.ask("unsubscribe", json!({ "channel": channel })).await;
    }
    for (channel, kind) in
        [("asked:1", "join"), ("asked:1", "leave"), ("forced:1", "join"), ("forced:1", "leave")]
    {
        let push = asks.expect(is_of_ann).await["push"].clone();
        assert_eq!(push["channel"], channel);
        assert!(push[kind].is_object(), "{kind}: {push}");
    }
    for kind in ["join", "leave"] {
        let push = does_not.expect(is_of_ann).await["push"].clone();
        assert_eq!((&push["channel"], push[kind].is_object()), (&json!("forced:1"), true));
    }
    asks.expect_none("more", is_of_ann).await;
    does_not.expect_none("more", is_of_ann).await;
}

#[tokio::test]
async fn a_token_lets_in_where_nobody_else_may() {
    let stage = with_file("[namespaces.off]\nallow_publish = true\n").await;
    let mut ann = stage.connect("ann").await;
    let good = claims(json!({ "sub": "ann", "channel": "off:1", "exp": unix() + 60 }));
    assert_eq!(error_of(&mut ann, "subscribe", "off:1").await, denied("not_allowed"));
    let reply = ann.ask("subscribe", json!({ "channel": "off:1", "token": good })).await;
    assert_eq!(reply["subscribe"]["expires"], true, "{reply}");
    ann.publish("off:1", json!(1)).await;
    assert_eq!(ann.publication().await["data"], 1);
}

#[tokio::test]
async fn where_a_token_is_required_only_those_inside_may_do_anything() {
    let options = "subscribe_token_required = true\nallow_presence = true\npresence = true\n\
                   history_size = 9\nhistory_ttl = 60\nallow_history = true";
    let stage = stage_with(options).await;
    let mut ann = stage.connect("ann").await;
    assert_eq!(error_of(&mut ann, "subscribe", "on:1").await, denied("token_required"));
    let inside = ["publish", "history", "presence", "presence_stats"];
    for method in inside {
        assert_eq!(error_of(&mut ann, method, "on:1").await, denied("not_subscribed"), "{method}");
    }
    let good = claims(json!({ "sub": "ann", "channel": "on:1" }));
    let reply = ann.ask("subscribe", json!({ "channel": "on:1", "token": good })).await;
    assert_eq!(reply["subscribe"]["expires"], Value::Null, "{reply}");
    for method in inside {
        let reply = ann.ask(method, json!({ "channel": "on:1", "data": 1 })).await;
        assert!(reply[method].is_object(), "{reply}");
    }
}

#[tokio::test]
async fn a_bad_subscription_token_is_refused_even_where_none_is_needed() {
    let stage = stage_with("").await;
    let body = |user: &str, channel: &str| json!({ "sub": user, "channel": channel });
    let mut expired = body("ann", "on:1");
    expired["exp"] = json!(unix() - 31);
    let mut early = body("ann", "on:1");
    early["nbf"] = json!(unix() + 60);
    let mut ann = stage.connect("ann").await;
    for (what, token, code, reason) in [
        ("expired", claims(expired), 109, "expired"),
        ("not valid yet", claims(early), 103, "not_yet_valid"),
        ("for another channel", claims(body("ann", "on:2")), 103, "token_channel"),
        ("for a connection", token("ann"), 103, "token_channel"),
        ("of another person", claims(body("bob", "on:1")), 103, "token_user"),
        ("of nobody", claims(json!({ "channel": "on:1" })), 103, "token_user"),
        ("malformed", "nonsense".to_owned(), 103, "malformed"),
        ("by another key", Issuer::hs256(b"other").token(&body("ann", "on:1")), 103, "signature"),
    ] {
        let error = ann.refused("subscribe", json!({ "channel": "on:1", "token": token })).await;
        assert_eq!((&error["code"], &error["reason"]), (&json!(code), &json!(reason)), "{what}");
    }
    let mut nobody = stage.anonymous().await;
    let token = claims(json!({ "channel": "on:1" }));
    let reply = nobody.ask("subscribe", json!({ "channel": "on:1", "token": token })).await;
    assert!(reply["subscribe"].is_object(), "a token of nobody is for nobody: {reply}");
}

#[tokio::test]
async fn the_feed_of_a_person_is_that_persons_alone() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let pass = claims(json!({ "sub": "ann", "channel": "user:bob" }));
    for body in [json!({ "channel": "user:bob" }), json!({ "channel": "user:bob", "token": pass })]
    {
        assert_eq!(ann.refused("subscribe", body).await["code"], 103);
    }
    for channel in ["user:ann", "user:bob"] {
        assert_eq!(error_of(&mut ann, "publish", channel).await, denied("server_publishes"));
        assert_eq!(error_of(&mut ann, "presence", channel).await, denied("not_allowed"));
    }
    assert_eq!(error_of(&mut ann, "history", "user:bob").await, denied("not_allowed"));
    assert_eq!(error_of(&mut ann, "subscribe", "user:ann").await.0, 105, "it is in already");
    let reply = ann.ask("history", json!({ "channel": "user:ann", "limit": -1 })).await;
    assert!(reply["history"].is_object(), "{reply}");
    let mut nobody = stage.anonymous().await;
    assert_eq!(error_of(&mut nobody, "subscribe", "user:ann").await, denied("server_side_only"));
    assert_eq!(error_of(&mut nobody, "history", "user:ann").await, denied("not_allowed"));
}
