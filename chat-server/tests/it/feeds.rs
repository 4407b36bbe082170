//! A person's own feed: durable, continued from anywhere, whatever happened to server and client.

use serde_json::{Value, json};

use chat_server::protocol::Json;

use crate::harness::{Client, Stage, on_both_stores, token};

const FEED: &str = "user:ann";

/// Says something in Ann's feed and returns its offset.
async fn tell(stage: &Stage, number: u64) -> u64 {
    let data = Json::from_value(&json!({ "n": number })).unwrap();
    stage.control.publish(FEED, data).await.unwrap().offset
}

/// Tells 1, 2 .. `count`, many at a time, for the store writes what gathers at once.
async fn tell_all(stage: &Stage, count: u64) {
    for first in (1..=count).step_by(100) {
        let told = (first..=count.min(first + 99)).map(|number| tell(stage, number));
        futures_util::future::join_all(told).await;
    }
}

/// Connects as Ann, who has seen everything up to `from`, and gives what she is told of her feed.
async fn back(stage: &Stage, from: &Value) -> (Client, Value) {
    let mut ann = stage.socket().await;
    let connect = json!({ "token": token("ann"), "subs": { FEED: from } });
    let reply = ann.ask("connect", connect).await;
    let feed = reply["connect"]["subs"][FEED].clone();
    assert!(feed.is_object(), "{reply}");
    (ann, feed)
}

fn seen_up_to(offset: u64, epoch: &Value) -> Value {
    json!({ "recover": true, "offset": offset, "epoch": epoch })
}

/// What a page of publications says and where it stands.
fn offsets(publications: &Value) -> Vec<u64> {
    let all = publications.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|publication| publication["offset"].as_u64().unwrap()).collect()
}

/// The offsets that follow as ordinary publications, up to `last`.
async fn following(ann: &mut Client, last: u64) -> Vec<u64> {
    let mut following = Vec::new();
    while following.last() != Some(&last) {
        following.push(ann.publication().await["offset"].as_u64().unwrap());
    }
    following
}

on_both_stores! {
    async fn what_was_told_before_a_restart_is_recovered_after_it(stage: Stage) {
        let (ann, feed) = back(&stage, &json!({})).await;
        let epoch = feed["epoch"].clone();
        drop(ann);
        for number in 1..=3 {
            assert_eq!(tell(&stage, number).await, number);
        }
        let stage = stage.restart().await;
        let (mut ann, feed) = back(&stage, &seen_up_to(1, &epoch)).await;
        assert_eq!(feed["recovered"], true, "{feed}");
        assert_eq!(offsets(&feed["publications"]), [2, 3]);
        assert_eq!(feed["publications"][0]["data"], json!({ "n": 2 }));
        tell(&stage, 4).await;
        assert_eq!(ann.publication().await["offset"], 4);
    }

    async fn who_missed_thousands_gets_them_all_in_order_and_then_what_is_new(stage: Stage) {
        let (ann, feed) = back(&stage, &json!({})).await;
        let epoch = feed["epoch"].clone();
        drop(ann);
        tell_all(&stage, 2000).await;
        let (mut ann, feed) = back(&stage, &seen_up_to(0, &epoch)).await;
        assert_eq!(feed["recovered"], true, "{feed}");
        let first = offsets(&feed["publications"]);
        assert!(!first.is_empty() && first.len() <= 256, "{}", first.len());
        assert_eq!(feed["offset"], first.len());
        // While the log is being sent it grows, and commands are answered.
        let (live, ()) = futures_util::join!(
            async {
                let mut last = 0;
                for number in 2001..=2100 {
                    last = tell(&stage, number).await;
                }
                last
            },
            async {
                for _ in 0..5 {
                    ann.ask("ping", json!({})).await;
                }
            },
        );
        let rest = following(&mut ann, live).await;
        let all: Vec<u64> = first.into_iter().chain(rest).collect();
        assert_eq!(all, (1..=live).collect::<Vec<_>>());
        assert_eq!(tell(&stage, 0).await, live + 1);
        assert_eq!(ann.publication().await["offset"], live + 1);
    }

    async fn a_position_of_another_life_or_from_the_future_is_not_recovered(stage: Stage) {
        let (ann, feed) = back(&stage, &json!({})).await;
        let epoch = feed["epoch"].clone();
        drop(ann);
        tell(&stage, 1).await;
        for from in [seen_up_to(0, &json!("another")), seen_up_to(7, &epoch)] {
            let (_ann, feed) = back(&stage, &from).await;
            assert_ne!(feed["recovered"], true, "{feed}");
            assert_eq!(feed["was_recovering"], true, "{feed}");
            assert_eq!((&feed["offset"], &feed["epoch"]), (&json!(1), &epoch), "{feed}");
        }
    }

    async fn what_another_server_wrote_is_found_in_the_store(stage: Stage) {
        let other = stage.twin().await;
        let (mut ann, _) = back(&stage, &json!({})).await;
        tell(&stage, 1).await;
        assert_eq!(ann.publication().await["offset"], 1);
        // Nobody tells the first server of 2 and 3: a comparison of heads finds them.
        tell_all(&other, 2).await;
        assert_eq!(following(&mut ann, 3).await, [2, 3]);
        // It finds out by itself that 4 is missing before 5.
        tell(&other, 4).await;
        tell(&stage, 5).await;
        assert_eq!(following(&mut ann, 5).await, [4, 5]);
    }

    async fn history_goes_over_memory_and_store_with_one_cursor(stage: Stage) {
        tell_all(&stage, 700).await;
        let (mut ann, feed) = back(&stage, &json!({})).await;
        let mut since = json!({ "offset": 0, "epoch": feed["epoch"] });
        let mut forward = Vec::new();
        while forward.last() != Some(&700) {
            let ask = json!({ "channel": FEED, "limit": 90, "since": since });
            let page = ann.ask("history", ask).await["history"].clone();
            assert_eq!(page["offset"], 700, "{page}");
            let page = offsets(&page["publications"]);
            since["offset"] = json!(page.last().unwrap());
            forward.extend(page);
        }
        assert_eq!(forward, (1..=700).collect::<Vec<_>>());
        let ask = json!({ "channel": FEED, "limit": -1, "reverse": true });
        let backward = ann.ask("history", ask).await["history"].clone();
        assert_eq!(offsets(&backward["publications"]), (1..=700).rev().collect::<Vec<_>>());
    }
}
