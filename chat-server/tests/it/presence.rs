//! Who is there, who comes and goes, and who is typing.

use serde_json::{Value, json};

use crate::harness::{Client, Stage, claims, unix};

async fn stats(client: &mut Client) -> (u64, u64) {
    let reply = client.ask("presence_stats", json!({ "channel": "lobby" })).await;
    let count = |key: &str| reply["presence_stats"][key].as_u64().unwrap();
    (count("num_clients"), count("num_users"))
}

async fn present(client: &mut Client) -> serde_json::Map<String, Value> {
    let reply = client.ask("presence", json!({ "channel": "lobby" })).await;
    reply["presence"]["presence"].as_object().unwrap().clone()
}

#[tokio::test]
async fn presence_counts_connections_and_people() {
    let stage = Stage::start().await;
    let mut watcher = stage.connect("watcher").await;
    assert_eq!((stats(&mut watcher).await, present(&mut watcher).await.len()), ((0, 0), 0));
    let mut first = stage.connect("ann").await;
    let mut second = stage.connect("ann").await;
    let (mut nobody, mut other) = (stage.anonymous().await, stage.anonymous().await);
    for client in [&mut first, &mut second, &mut nobody, &mut other] {
        client.subscribe("lobby").await;
    }
    // Those without a name are one person.
    assert_eq!(stats(&mut watcher).await, (4, 2));
    first.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    assert_eq!(stats(&mut watcher).await, (3, 2));
    second.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    assert_eq!(stats(&mut watcher).await, (2, 1));
}

#[tokio::test]
async fn presence_names_everyone_by_connection() {
    let stage = Stage::start().await;
    let token = claims(json!({ "sub": "ann", "name": "Ann", "exp": unix() + 60 }));
    let mut ann = stage.socket().await;
    let id = ann.ask("connect", json!({ "token": token })).await["connect"]["client"].clone();
    ann.subscribe("lobby").await;
    let mut nobody = stage.anonymous().await;
    nobody.subscribe("lobby").await;
    let present = present(&mut nobody).await;
    assert_eq!(present.len(), 2);
    let wanted = json!({ "user": "ann", "client": id, "conn_info": { "name": "Ann" } });
    assert_eq!(present[id.as_str().unwrap()], wanted);
    assert!(present.values().any(|info| info["user"] == "" && info.get("conn_info").is_none()));
}

#[tokio::test]
async fn joins_and_leaves_are_told_however_somebody_goes() {
    let stage = Stage::start().await;
    let mut bob = stage.connect("bob").await;
    bob.subscribe("lobby").await;
    let of_ann =
        |kind: &'static str| move |message: &Value| message["push"][kind]["info"]["user"] == "ann";
    for way in ["unsubscribes", "closes", "vanishes", "is disconnected", "is unsubscribed"] {
        let mut ann = stage.connect("ann").await;
        ann.subscribe("lobby").await;
        let join = bob.expect(of_ann("join")).await;
        assert_eq!(join["push"]["channel"], "lobby");
        match way {
            "unsubscribes" => drop(ann.ask("unsubscribe", json!({ "channel": "lobby" })).await),
            "closes" => ann.socket.close(None).await.unwrap(),
            // Somebody whose connection broke may come back: it is told after five seconds.
            "vanishes" => drop(ann),
            "is disconnected" => {
                let code = chat_server::protocol::DisconnectCode::Forced;
                assert_eq!(stage.control.disconnect("ann", code).await.here, 1);
            }
            _ => {
                let code = chat_server::protocol::UnsubscribeCode::Server;
                assert_eq!(stage.control.unsubscribe("ann", "lobby", code).await.here, 1);
            }
        }
        let leave = bob.expect(of_ann("leave")).await["push"]["leave"]["info"].clone();
        assert_eq!(leave, join["push"]["join"]["info"], "{way}");
        assert_eq!(stats(&mut bob).await, (1, 1), "{way}");
    }
}

#[tokio::test]
async fn who_leaves_hears_nothing_more_of_the_channel() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    ann.push("join").await;
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    bob.publish("lobby", json!(1)).await;
    let of_lobby = |message: &Value| {
        message["push"]["pub"].is_object() || message["push"]["leave"].is_object()
    };
    ann.expect_none("of the channel it left", of_lobby).await;
}

#[tokio::test]
async fn typing_reaches_the_others_and_is_not_kept() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let mut sue = stage.sse("sue").await;
    let typing = |on: bool| json!({ "data": { "typing": { "channel": "lobby", "on": on } } });
    bob.subscribe("lobby").await;
    sue.ask("subscribe", json!({ "channel": "lobby" })).await;
    ann.send("send", typing(true)).await;
    bob.expect_none("of one who is not there", |message| message["push"]["pub"].is_object()).await;
    ann.subscribe("lobby").await;
    for on in [true, false] {
        ann.text(&json!({ "send": typing(on) }).to_string()).await;
        for publication in [bob.publication().await, sue.publication().await] {
            assert_eq!(publication["data"], json!({ "type": "typing", "on": on }));
            assert_eq!(
                (&publication["offset"], &publication["info"]["user"]),
                (&Value::Null, &json!("ann"))
            );
        }
    }
    let page = ann.ask("history", json!({ "channel": "lobby", "limit": -1 })).await;
    assert_eq!(
        (&page["history"]["publications"], &page["history"]["offset"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_message_to_the_server_that_it_does_not_know_changes_nothing() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    for data in [
        json!(null),
        json!(1),
        json!("typing"),
        json!({ "typing": true }),
        json!({ "typing": { "channel": "lobby" } }),
        json!({ "typing": { "channel": "lobby", "on": "yes" } }),
        json!({ "typing": { "channel": "nowhere:1", "on": true } }),
        json!({ "typing": { "channel": "user:bob", "on": true } }),
    ] {
        ann.text(&json!({ "send": { "data": data } }).to_string()).await;
    }
    ann.expect_none("an answer", |message| message["error"].is_object()).await;
    bob.expect_none("a publication", |message| message["push"]["pub"].is_object()).await;
}
