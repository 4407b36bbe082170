//! Channels as their users see them: publish, receive, recover, presence, history.

use serde_json::json;

use crate::harness::Stage;

#[tokio::test]
async fn a_message_reaches_everyone_in_its_channel_and_nobody_else() {
    let stage = Stage::start().await;
    let (mut ann, mut bob, mut eve) =
        (stage.connect("ann").await, stage.connect("bob").await, stage.connect("eve").await);
    ann.subscribe("lobby").await;
    bob.subscribe("lobby").await;
    eve.subscribe("elsewhere").await;
    ann.publish("lobby", json!({ "text": "hi" })).await;
    for client in [&mut ann, &mut bob] {
        let publication = client.publication().await;
        assert_eq!(publication["data"], json!({ "text": "hi" }));
        assert_eq!(publication["offset"], 1);
        assert_eq!(publication["info"]["user"], "ann");
    }
    bob.publish("elsewhere", json!(2)).await;
    assert_eq!(eve.publication().await["data"], 2);
}

#[tokio::test]
async fn a_client_that_returns_gets_what_it_missed_before_anything_new() {
    let stage = Stage::start().await;
    let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
    let joined = bob.subscribe("lobby").await;
    drop(bob);
    for number in 1..=300 {
        let reply = ann.ask("publish", json!({ "channel": "lobby", "data": number })).await;
        if reply["error"]["code"] == 111 {
            break;
        }
    }
    let top = ann.ask("history", json!({ "channel": "lobby" })).await["history"]["offset"]
        .as_u64()
        .unwrap();
    assert!(top >= 100, "the burst of a second");
    let mut bob = stage.connect("bob").await;
    let from = json!({ "channel": "lobby", "recover": true, "epoch": joined["epoch"],
        "offset": top - 90 });
    let reply = bob.ask("subscribe", from).await["subscribe"].clone();
    assert_eq!((&reply["recovered"], &reply["was_recovering"]), (&json!(true), &json!(true)));
    let missed = reply["publications"].as_array().unwrap();
    assert_eq!(missed.len(), 90);
    assert_eq!(missed.last().unwrap()["offset"], top);
}

#[tokio::test]
async fn an_offset_from_the_future_or_another_life_is_not_recovered() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let joined = ann.subscribe("lobby").await;
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    for (offset, epoch) in [(99, joined["epoch"].as_str().unwrap()), (0, "other")] {
        let from = json!({ "channel": "lobby", "recover": true, "offset": offset, "epoch": epoch });
        let reply = ann.ask("subscribe", from.clone()).await["subscribe"].clone();
        assert_eq!(reply["was_recovering"], true);
        assert_ne!(reply["recovered"], true);
        assert_eq!(reply["publications"], json!(null));
        ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
        let mut strict = from;
        strict["flag"] = json!(2);
        assert_eq!(ann.ask("subscribe", strict).await["error"]["code"], 112);
    }
}
