//! Pages of history: how long, which way, from where.

use chat_server::protocol::Json;
use serde_json::{Value, json};

use crate::harness::{Client, Stage, eventually};

/// A channel with publications 1 to `count`, each its own offset, and a client that reads it.
async fn lobby(stage: &Stage, count: u64) -> Client {
    for number in 1..=count {
        stage.control.publish("lobby", Json::from_value(&number).unwrap()).await.unwrap();
    }
    stage.connect("ann").await
}

async fn page(client: &mut Client, mut request: Value) -> Value {
    request["channel"] = json!("lobby");
    let reply = client.ask("history", request).await;
    assert!(reply["history"].is_object(), "{reply}");
    reply["history"].clone()
}

fn offsets(page: &Value) -> Vec<u64> {
    let publications = page["publications"].as_array().map_or(&[][..], Vec::as_slice);
    publications.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn pages_go_forward_and_backward_from_anywhere() {
    let stage = Stage::start().await;
    let mut ann = lobby(&stage, 10).await;
    let epoch = page(&mut ann, json!({})).await["epoch"].clone();
    let since = |offset: u64| json!({ "offset": offset, "epoch": epoch });
    for (request, wanted) in [
        (json!({ "limit": 3 }), vec![1, 2, 3]),
        (json!({ "limit": 3, "reverse": true }), vec![10, 9, 8]),
        (json!({ "limit": 3, "since": since(4) }), vec![5, 6, 7]),
        (json!({ "limit": 3, "since": since(4), "reverse": true }), vec![3, 2, 1]),
        (json!({ "limit": 3, "since": since(9) }), vec![10]),
        (json!({ "limit": 3, "since": since(10) }), vec![]),
        (json!({ "limit": 3, "since": since(1), "reverse": true }), vec![]),
        (json!({ "limit": 3, "since": since(0) }), vec![1, 2, 3]),
        (json!({ "limit": 3, "since": { "offset": 4 } }), vec![5, 6, 7]),
    ] {
        let page = page(&mut ann, request.clone()).await;
        assert_eq!(offsets(&page), wanted, "{request}");
        assert_eq!((&page["offset"], &page["epoch"]), (&json!(10), &epoch));
    }
}

#[tokio::test]
async fn a_limit_of_zero_or_none_gives_the_position_alone() {
    let stage = Stage::start().await;
    let mut ann = lobby(&stage, 3).await;
    for request in [json!({}), json!({ "limit": 0 }), json!({ "limit": 0, "reverse": true })] {
        let page = page(&mut ann, request).await;
        assert_eq!((&page["publications"], &page["offset"]), (&Value::Null, &json!(3)));
    }
}

#[tokio::test]
async fn minus_one_is_as_much_as_there_may_be_and_less_makes_no_sense() {
    let stage = Stage::with(&[("MESSAGE_HISTORY_LIMIT", "7")]).await;
    let mut ann = lobby(&stage, 10).await;
    for limit in [-1, 7, 8, i32::MAX] {
        assert_eq!(
            offsets(&page(&mut ann, json!({ "limit": limit })).await),
            [1, 2, 3, 4, 5, 6, 7]
        );
    }
    for limit in [-2, i32::MIN] {
        let error = ann.refused("history", json!({ "channel": "lobby", "limit": limit })).await;
        let found = (&error["code"], &error["reason"], &error["field"]);
        assert_eq!(found, (&json!(107), &json!("history_limit"), &json!("limit")));
    }
}

#[tokio::test]
async fn a_position_of_the_future_or_of_another_life_is_refused() {
    let stage = Stage::start().await;
    let mut ann = lobby(&stage, 3).await;
    let epoch = page(&mut ann, json!({})).await["epoch"].clone();
    for since in [
        json!({ "offset": 4, "epoch": epoch }),
        json!({ "offset": u64::MAX, "epoch": epoch }),
        json!({ "offset": 4 }),
        json!({ "offset": 1, "epoch": "another" }),
    ] {
        let request = json!({ "channel": "lobby", "limit": 5, "since": since });
        assert_eq!(ann.refused("history", request).await["code"], 112, "{since}");
    }
}

#[tokio::test]
async fn a_page_ends_at_half_a_megabyte_and_the_next_one_goes_on() {
    let stage = Stage::with(&[("MAX_MESSAGE_SIZE", "61440")]).await;
    let large = Json::from_value(&"x".repeat(60_000)).unwrap();
    for _ in 0..20 {
        stage.control.publish("lobby", large.clone()).await.unwrap();
    }
    let mut ann = stage.connect("ann").await;
    let mut seen = Vec::new();
    loop {
        let since = json!({ "offset": seen.last().copied().unwrap_or(0) });
        let page = page(&mut ann, json!({ "limit": -1, "since": since })).await;
        let offsets = offsets(&page);
        assert!(page.to_string().len() < 600 * 1024);
        if offsets.is_empty() {
            break;
        }
        seen.extend(offsets);
    }
    assert_eq!(seen, (1..=20).collect::<Vec<u64>>());
}

#[tokio::test]
async fn publications_say_who_when_and_what() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    ann.publish("lobby", json!({ "text": "hi" })).await;
    stage.control.publish("lobby", Json::parse(b"2").unwrap()).await.unwrap();
    let page = page(&mut ann, json!({ "limit": -1 })).await;
    let first = &page["publications"][0];
    assert_eq!((&first["data"], &first["info"]["user"]), (&json!({ "text": "hi" }), &json!("ann")));
    assert!(first["time"].as_u64().unwrap() > 1_600_000_000_000);
    assert_eq!(page["publications"][1]["info"], Value::Null, "the server has no name");
}

#[tokio::test]
async fn a_recovery_longer_than_a_page_comes_in_order_and_before_anything_new() {
    let large = Json::from_value(&"x".repeat(8000)).unwrap();
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let joined = ann.subscribe("lobby").await;
    ann.ask("unsubscribe", json!({ "channel": "lobby" })).await;
    for _ in 0..50 {
        stage.control.publish("lobby", large.clone()).await.unwrap();
    }
    let from = json!({ "channel": "lobby", "recover": true, "epoch": joined["epoch"] });
    let id = ann.send("subscribe", from).await;
    let reply = ann.expect(|message| message["id"] == id).await["subscribe"].clone();
    stage.control.publish("lobby", Json::parse(b"\"new\"").unwrap()).await.unwrap();
    let first = offsets(&reply);
    assert_eq!(first, (1..=first.len() as u64).collect::<Vec<_>>());
    assert_eq!((&reply["recovered"], &reply["offset"]), (&json!(true), &json!(first.len())));
    assert!(first.len() < 50, "a page has 64 KiB");
    for wanted in first.len() as u64 + 1..=51 {
        assert_eq!(ann.publication().await["offset"], wanted);
    }
}

#[tokio::test]
async fn a_client_that_asks_for_more_than_it_reads_is_let_go() {
    let stage = Stage::with(&[("PING_INTERVAL_MS", "300"), ("PONG_TIMEOUT_MS", "200")]).await;
    let large = Json::from_value(&"x".repeat(60_000)).unwrap();
    for _ in 0..100 {
        stage.control.publish("lobby", large.clone()).await.unwrap();
    }
    let mut ann = stage.connect("ann").await;
    let epoch = page(&mut ann, json!({})).await["epoch"].clone();
    // Six megabytes, of which nothing is read.
    ann.send("subscribe", json!({ "channel": "lobby", "recover": true, "epoch": epoch })).await;
    eventually("the connection is over", async || stage.connections().await == 0).await;
}
