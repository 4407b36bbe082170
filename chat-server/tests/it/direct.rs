//! Direct conversations: the same people have the same one, wherever it is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use chat_server::room::{Kind, LogId};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio_util::task::TaskTracker;

use crate::harness::rooms::Room;
use crate::harness::vault::Vault;
use crate::harness::{Client, Stage, on_both_stores};

async fn open(client: &mut Client, data: Value) -> Room {
    let opened = client.call("dm.open", data).await;
    let id = opened["id"].as_str().unwrap().to_owned();
    let channel = format!("room:{id}");
    assert_eq!(opened, json!({ "id": id, "channel": channel }));
    Room { id, channel }
}

on_both_stores! {
    async fn the_same_people_have_the_same_conversation(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = open(&mut ann, json!({ "user": "bob" })).await;
        for data in [
            json!({ "user": "bob" }),
            json!({ "users": ["bob"] }),
            json!({ "users": ["ann", "bob", "bob", "ann"] }),
            json!({ "user": "bob", "users": ["ann"] }),
        ] {
            assert_eq!(open(&mut ann, data).await.id, room.id);
        }
        assert_eq!(open(&mut bob, json!({ "user": "ann" })).await.id, room.id);
        let three = open(&mut bob, json!({ "users": ["ann", "eve"] })).await;
        assert_ne!(three.id, room.id);
        let mut eve = stage.connect("eve").await;
        assert_eq!(open(&mut eve, json!({ "users": ["bob", "ann"] })).await.id, three.id);
        assert_ne!(open(&mut eve, json!({ "user": "bob" })).await.id, three.id);

        let joined = |user: &str| {
            let (change, role) = ("joined", "member");
            json!({ "type": "member", "user": user, "change": change, "role": role, "by": "ann" })
        };
        let logs = stage.logs().await;
        assert_eq!(logs.room(&room).await, [joined("ann"), joined("bob")]);
        let mut told = joined("bob");
        told["room"] = room.id.as_str().into();
        assert_eq!(logs.feed("bob").await[0], told);
        let seen = bob.call("room.get", room.alone()).await;
        assert_eq!((&seen["visibility"], &seen["role"]), (&json!("direct"), &json!("member")));
        assert_eq!((&seen["members"], &seen["name"]), (&json!(2), &json!("")));
        let list = bob.call("room.list", json!({})).await;
        assert_eq!(list["rooms"].as_array().unwrap().len(), 3);
    }

    async fn both_write_and_hear_each_other_and_nobody_else_does(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let mut eve = stage.connect("eve").await;
        let room = open(&mut ann, json!({ "user": "bob" })).await;
        assert_eq!(bob.hears("user:bob").await["change"], "joined");
        bob.subscribe(&room.channel).await;
        ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
        assert_eq!(bob.hears(&room.channel).await["body"], "hi");
        for method in ["room.get", "room.members", "room.join", "room.leave", "room.archive"] {
            let denied = eve.denied(method, room.alone()).await;
            assert_eq!(denied, (103, "not_a_member".to_owned()), "{method}");
        }
        let refused = eve.refused("subscribe", json!({ "channel": room.channel })).await;
        assert_eq!(refused["reason"], "not_a_member");
    }

    async fn nobody_comes_goes_or_ranks_in_it(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = open(&mut ann, json!({ "user": "bob" })).await;
        for (method, data) in [
            ("room.join", room.alone()),
            ("room.leave", room.alone()),
            ("room.invite", room.with("eve")),
            ("room.update", json!({ "room": room.id, "name": "We" })),
            ("room.archive", room.alone()),
            ("member.role", json!({ "room": room.id, "user": "bob", "role": "guest" })),
            ("member.mute", room.with("bob")),
            ("member.unmute", room.with("bob")),
            ("member.kick", room.with("bob")),
            ("member.ban", room.with("bob")),
            ("member.unban", room.with("bob")),
        ] {
            assert_eq!(ann.denied(method, data).await, (409, "direct".to_owned()), "{method}");
        }
        assert_eq!(stage.logs().await.room(&room).await.len(), 2);
    }

    async fn a_conversation_has_two_to_twenty_people(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let people = |count: u32| (0..count).map(|user| format!("user {user}")).collect::<Vec<_>>();
        let room = open(&mut ann, json!({ "users": people(19) })).await;
        assert_eq!(ann.call("room.get", room.alone()).await["members"], 20);
        for users in [people(20), people(21)] {
            let got = users.len().max(21);
            let error = ann.call_refused("dm.open", json!({ "users": users })).await;
            assert_eq!((&error["code"], &error["reason"]), (&json!(400), &json!("too_many")));
            assert_eq!((&error["field"], &error["limit"]), (&json!("users"), &json!(20)));
            assert_eq!(error["got"], got);
        }
        for (data, field, reason) in [
            (json!({}), "user", "missing"),
            (json!({ "user": "ann" }), "user", "alone"),
            (json!({ "users": [] }), "users", "alone"),
            (json!({ "users": ["ann", "ann"] }), "users", "alone"),
            (json!({ "users": "bob" }), "users", "type"),
            (json!({ "users": ["b\u{200b}ob"] }), "users", "format"),
            (json!({ "user": 7 }), "user", "type"),
            (json!({ "user": "" }), "user", "format"),
        ] {
            let error = ann.call_refused("dm.open", data.clone()).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!(field)), "{data}");
            assert_eq!(error["reason"], reason, "{data}");
        }
    }
}

on_both_stores! {
    flavor = "multi_thread";

    async fn two_nodes_that_open_it_at_once_make_one(vault: Vault) {
        let nodes = [vault.store.clone(), vault.node().await];
        for round in 0..10 {
            let (ann, bob): (Arc<str>, Arc<str>) = ("ann".into(), format!("bob {round}").into());
            let people = [vec![ann.clone(), bob.clone()], vec![bob.clone(), ann.clone()]];
            let tasks = TaskTracker::new();
            let opened = (0..8).map(|turn: usize| {
                let (store, by) = (nodes[turn % 2].clone(), [&ann, &bob][turn % 2].clone());
                let people = people[turn % 2].clone();
                tasks.spawn(async move { store.open_direct(by, people).await.unwrap() })
            });
            let opened: Vec<_> = join_all(opened).await.into_iter().map(Result::unwrap).collect();
            let ids: BTreeSet<_> = opened.iter().map(|change| change.value).collect();
            assert_eq!(ids.len(), 1, "one conversation");
            let told: Vec<_> = opened.iter().map(|change| change.published.len()).collect();
            assert_eq!(
                told.iter().filter(|count| **count > 0).collect::<Vec<_>>(),
                [&4],
                "{told:?}"
            );
            let room = ids.into_iter().next().unwrap();
            assert_eq!(vault.offsets(room.log()).await, [1, 2]);
            assert_eq!(vault.offsets(LogId::of_feed(&bob)).await, [1]);
        }
        let direct = Kind::Direct.number();
        let rooms =
            vault.numbers(format!("SELECT count(*) FROM rooms WHERE kind = {direct}")).await;
        assert_eq!(rooms, [10]);
        assert_eq!(vault.offsets(LogId::of_feed("ann")).await, (1..=10).collect::<Vec<i64>>());
    }
}
