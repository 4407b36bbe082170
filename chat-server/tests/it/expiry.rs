//! Tokens that end while they are in use, and new ones in their place.
//!
//! A token is taken until 30 s after its end and good for 25 s more than it says: one that ended
//! 24 s ago lets in for a second at most.

use serde_json::{Value, json};

use crate::harness::{Client, Stage, claims, token, unix};

/// When a token ended that has up to a second of grace left.
fn nearly_over() -> u64 {
    unix() - 24
}

/// When a token ended that has time left for one more command.
fn soon_over() -> u64 {
    unix() - 22
}

async fn connected_until(stage: &Stage, user: &str, exp: u64) -> Client {
    let mut client = stage.socket().await;
    let token = claims(json!({ "sub": user, "exp": exp }));
    let reply = client.ask("connect", json!({ "token": token })).await;
    assert_eq!(reply["connect"]["expires"], true, "{reply}");
    client
}

fn for_channel(user: &str, channel: &str, exp: u64) -> String {
    claims(json!({ "sub": user, "channel": channel, "exp": exp }))
}

#[tokio::test]
async fn a_connection_ends_when_its_token_is_not_refreshed() {
    let stage = Stage::start().await;
    assert_eq!(connected_until(&stage, "ann", nearly_over()).await.closed().await, 3005);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_not_refreshed() {
    let stage = Stage::start().await;
    let token = claims(json!({ "sub": "ann", "exp": nearly_over() }));
    let last = stage.sse_with(json!({ "token": token })).await.rest().await.pop().unwrap();
    assert_eq!(last["push"]["disconnect"]["code"], 3005);
}

#[tokio::test]
async fn a_refreshed_connection_goes_on() {
    let stage = Stage::start().await;
    let mut ann = connected_until(&stage, "ann", soon_over()).await;
    let mut bob = connected_until(&stage, "bob", soon_over()).await;
    let reply = ann.ask("refresh", json!({ "token": token("ann") })).await["refresh"].clone();
    assert!(reply["client"].is_string() && reply["version"].is_string(), "{reply}");
    assert_eq!(reply["expires"], true);
    assert!(reply["ttl"].as_u64().unwrap() > 3500);
    // Bob came later and had as long as Ann.
    assert_eq!(bob.closed().await, 3005);
    assert_eq!(ann.ask("ping", json!({})).await["ping"], json!({}));
}

#[tokio::test]
async fn a_token_without_an_end_refreshes_for_ever() {
    let stage = Stage::start().await;
    let mut ann = connected_until(&stage, "ann", soon_over()).await;
    let reply = ann.ask("refresh", json!({ "token": claims(json!({ "sub": "ann" })) })).await;
    assert_eq!(
        (&reply["refresh"]["expires"], &reply["refresh"]["ttl"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(connected_until(&stage, "bob", soon_over()).await.closed().await, 3005);
    assert_eq!(ann.ask("ping", json!({})).await["ping"], json!({}));
}

#[tokio::test]
async fn a_refresh_with_a_bad_token_ends_the_connection() {
    let stage = Stage::start().await;
    let subscription = for_channel("ann", "lobby", unix() + 60);
    for (what, token, code) in [
        ("expired", claims(json!({ "sub": "ann", "exp": unix() - 31 })), 3005),
        ("of another person", token("bob"), 3500),
        ("of nobody", claims(json!({ "exp": unix() + 60 })), 3500),
        ("malformed", "nonsense".to_owned(), 3500),
        ("not valid yet", claims(json!({ "sub": "ann", "nbf": unix() + 60 })), 3500),
        ("for a channel", subscription, 3500),
        ("absent", String::new(), 3500),
    ] {
        let mut ann = stage.connect("ann").await;
        ann.send("refresh", json!({ "token": token })).await;
        assert_eq!(ann.closed().await, code, "{what}");
    }
    let mut nobody = stage.anonymous().await;
    nobody.send("refresh", json!({ "token": token("ann") })).await;
    assert_eq!(nobody.closed().await, 3500, "nobody becomes somebody");
}

#[tokio::test]
async fn a_subscription_ends_when_its_token_is_not_refreshed_and_the_connection_goes_on() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    bob.subscribe("lobby").await;
    let token = for_channel("ann", "lobby", soon_over());
    let reply = ann.ask("subscribe", json!({ "channel": "lobby", "token": token })).await;
    assert_eq!(
        (&reply["subscribe"]["expires"], &reply["subscribe"]["ttl"]),
        (&json!(true), &json!(1))
    );
    let push = ann.push("unsubscribe").await;
    assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("lobby"), &json!(2501)));
    bob.push("leave").await;
    bob.publish("lobby", json!(1)).await;
    ann.expect_none("what is published after it", |message| message["push"]["pub"].is_object())
        .await;
    ann.subscribe("lobby").await;
}

#[tokio::test]
async fn a_refreshed_subscription_goes_on() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    for channel in ["lobby", "hall"] {
        let token = for_channel("ann", channel, soon_over());
        ann.ask("subscribe", json!({ "channel": channel, "token": token })).await;
    }
    let token = for_channel("ann", "lobby", unix() + 60);
    let reply = ann.ask("sub_refresh", json!({ "channel": "lobby", "token": token })).await;
    assert_eq!(reply["sub_refresh"]["expires"], true, "{reply}");
    assert!(reply["sub_refresh"]["ttl"].as_u64().unwrap() >= 58);
    assert_eq!(ann.push("unsubscribe").await["channel"], "hall");
    ann.publish("lobby", json!(1)).await;
    assert_eq!(ann.publication().await["data"], 1);
}

#[tokio::test]
async fn a_subscription_refresh_with_a_bad_token_is_refused_and_changes_nothing() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let good = for_channel("ann", "lobby", unix() + 60);
    ann.ask("subscribe", json!({ "channel": "lobby", "token": good })).await;
    let foreign = chassis::testing::Issuer::hs256(b"another secret")
        .token(&json!({ "sub": "ann", "channel": "lobby" }));
    for (what, token, code, reason) in [
        ("expired", for_channel("ann", "lobby", unix() - 31), 110, None),
        (
            "for another channel",
            for_channel("ann", "hall", unix() + 60),
            103,
            Some("token_channel"),
        ),
        ("of another person", for_channel("bob", "lobby", unix() + 60), 103, Some("token_channel")),
        ("for a connection", token("ann"), 103, Some("token_channel")),
        ("signed by another key", foreign, 103, Some("signature")),
        ("malformed", "nonsense".to_owned(), 103, Some("malformed")),
        ("absent", String::new(), 103, Some("token_required")),
    ] {
        let error = ann.refused("sub_refresh", json!({ "channel": "lobby", "token": token })).await;
        assert_eq!((&error["code"], error["reason"].as_str()), (&json!(code), reason), "{what}");
    }
    let token = for_channel("ann", "hall", unix() + 60);
    let error = ann.refused("sub_refresh", json!({ "channel": "hall", "token": token })).await;
    assert_eq!((&error["code"], &error["reason"]), (&json!(103), &json!("not_subscribed")));
    ann.publish("lobby", json!(1)).await;
    assert_eq!(ann.publication().await["data"], 1);
}
