//! Bans: who is out stays out, whatever else happens at the same moment.

use chat_server::room::{Denied, Role};
use chat_server::store::{Deed, Error};
use serde_json::{Value, json};

use crate::harness::vault::{Vault, draft};
use crate::harness::{Stage, on_both_stores, unix};

fn event(user: &str, change: &str) -> Value {
    json!({ "type": "member", "user": user, "change": change, "by": "ann" })
}

fn banned() -> (u64, String) {
    (403, "banned".to_owned())
}

on_both_stores! {
    async fn a_ban_removes_a_member_and_keeps_them_out(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        let logs = stage.logs().await;
        let ban = json!({ "room": room.id, "user": "bob", "reason": "spam" });
        for _ in 0..2 {
            assert_eq!(ann.call("member.ban", ban.clone()).await, json!({ "offset": 3 }));
        }
        assert_eq!(logs.since(&room, 2).await, [event("bob", "banned")]);
        let members = ann.call("room.members", room.alone()).await;
        assert_eq!(members["members"].as_array().unwrap().len(), 1);
        assert_eq!(ann.call("room.get", room.alone()).await["members"], 1);
        for method in ["room.get", "room.members", "room.join", "room.leave", "room.update"] {
            let error = bob.call_refused(method, room.alone()).await;
            assert_eq!((&error["code"], &error["reason"]), (&json!(403), &json!("banned")));
            assert_eq!(error.get("retry_after_ms"), None, "it does not end by itself");
        }
        assert_eq!(bob.denied("room.invite", room.with("eve")).await, banned());
        let refused = bob.refused("subscribe", json!({ "channel": room.channel })).await;
        assert_eq!(refused["reason"], "banned");
        let invited = ann.denied("room.invite", room.with("bob")).await;
        assert_eq!(invited, (409, "user_banned".to_owned()));
        assert_eq!(
            ann.denied("member.kick", room.with("bob")).await,
            (404, "not_found".to_owned())
        );

        for _ in 0..2 {
            assert_eq!(ann.call("member.unban", room.with("bob")).await, json!({ "offset": 4 }));
        }
        let seat = bob.call("room.join", room.alone()).await;
        assert_eq!(seat, json!({ "role": "member", "offset": 5 }));
        assert_eq!(logs.since(&room, 3).await[0], event("bob", "unbanned"));
        let audit = [
            json!(["ann", "member.ban", "bob", { "before": "member", "reason": "spam" }]),
            json!(["ann", "member.unban", "bob", {}]),
        ];
        assert_eq!(logs.audit(&room).await, audit);
    }

    async fn people_who_never_were_there_can_be_banned(stage: Stage) {
        let (mut ann, mut eve) = (stage.connect("ann").await, stage.connect("eve").await);
        let room = ann.create("public", &[]).await;
        let until = (unix() + 3600) * 1000;
        let ban = |until: Value| json!({ "room": room.id, "user": "eve", "until": until });
        ann.call("member.ban", ban(json!(until))).await;
        let error = eve.call_refused("room.join", room.alone()).await;
        assert_eq!(error["reason"], "banned");
        let wait = error["retry_after_ms"].as_u64().unwrap();
        assert!((3_500_000..=3_600_000).contains(&wait), "{wait}");
        // Another end is another ban; the same one is not.
        assert_eq!(ann.call("member.ban", ban(json!(until))).await, json!({ "offset": 2 }));
        assert_eq!(ann.call("member.ban", ban(json!(until + 1))).await, json!({ "offset": 3 }));
        assert_eq!(ann.call("member.ban", ban(json!(null))).await, json!({ "offset": 4 }));
        let told = |until: Option<u64>| {
            let mut event = event("eve", "banned");
            event["room"] = room.id.as_str().into();
            if let Some(until) = until {
                event["until"] = until.into();
            }
            event
        };
        let feed = stage.logs().await.feed("eve").await;
        assert_eq!(feed, [told(Some(until)), told(Some(until + 1)), told(None)]);
    }

    async fn a_ban_and_a_mute_end_by_themselves(vault: Vault) {
        let room = vault.room_of(&["ann", "eve"]).await;
        vault.member(room, "ann", Some(Role::Owner)).await;
        let deed =
            |by: &str, user: &str| Deed { room, by: by.into(), user: user.into(), reason: None };
        let until = (unix() + 3600) * 1000;
        vault.store.mute(deed("ann", "eve"), until).await.unwrap();
        vault.store.ban(deed("ann", "eve"), until).await.unwrap();
        let refused = vault.store.join(deed("eve", "eve")).await.unwrap_err();
        assert!(matches!(refused, Error::Denied(Denied::Banned { until: end }) if end == until));

        let past = (unix() - 1) * 1000;
        vault.run(format!("UPDATE members SET banned_until = {past} WHERE user_id = 'eve'")).await;
        let seat = vault.store.join(deed("eve", "eve")).await.unwrap().value;
        assert_eq!((seat.role, seat.offset), (Some(Role::Member), 3));
        // What is over already is not ended once more.
        assert_eq!(vault.store.unban(deed("ann", "eve")).await.unwrap().published, []);
        let message = [draft(room, "eve", None)];
        let refused = vault.store.append(&message).await.unwrap();
        assert!(
            matches!(refused[0], Err(Error::Denied(Denied::Muted { until: end })) if end == until)
        );
        vault.run(format!("UPDATE members SET muted_until = {past} WHERE user_id = 'eve'")).await;
        assert!(vault.store.append(&message).await.unwrap()[0].is_ok());
        assert_eq!(vault.store.unmute(deed("ann", "eve")).await.unwrap().published, []);

        // Who goes leaves nothing behind when neither is left of it.
        vault.store.leave(deed("eve", "eve")).await.unwrap();
        let id = vault.id(room.uuid());
        let rows = format!("SELECT count(*) FROM members WHERE room_id = {id}");
        assert_eq!(vault.numbers(rows).await, [1]);
    }

    async fn a_banned_person_is_put_out_on_every_connection(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &["bob"]).await;
        let (mut phone, mut laptop) = (stage.connect("bob").await, stage.connect("bob").await);
        let mut guest = stage.connect("eve").await;
        for client in [&mut ann, &mut phone, &mut laptop, &mut guest] {
            client.subscribe(&room.channel).await;
        }
        ann.call("member.ban", room.with("bob")).await;
        for device in [&mut phone, &mut laptop] {
            let push = device.push("unsubscribe").await;
            assert_eq!(push["channel"], room.channel);
            assert_eq!(push["unsubscribe"]["code"], 2000);
            let mut told = event("bob", "banned");
            told["room"] = room.id.as_str().into();
            assert_eq!(device.hears("user:bob").await, told);
            let refused = device.refused("subscribe", json!({ "channel": room.channel })).await;
            assert_eq!((&refused["code"], &refused["reason"]), (&json!(403), &json!("banned")));
        }
        assert_eq!(ann.hears(&room.channel).await, event("bob", "banned"));
        assert_eq!(guest.hears(&room.channel).await, event("bob", "banned"));
        ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
        assert_eq!(guest.hears(&room.channel).await["body"], "hi");
        let of_room = |message: &Value| {
            message["push"]["channel"] == *room.channel
                && message["push"]["pub"]["data"]["body"] == "hi"
        };
        phone.expect_none("who is banned hears nothing", of_room).await;
        // A banned person's own connections and other channels go on.
        laptop.subscribe("lobby").await;
    }

    async fn rooms_that_somebody_is_banned_from_are_not_listed_to_them(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let (first, second) =
            (ann.create("public", &["bob"]).await, ann.create("public", &["bob"]).await);
        ann.call("member.ban", first.with("bob")).await;
        for filter in ["public", "joined"] {
            let list = bob.call("room.list", json!({ "filter": filter })).await;
            let ids: Vec<_> =
                list["rooms"].as_array().unwrap().iter().map(|it| &it["id"]).collect();
            assert_eq!(ids, [&json!(second.id)], "{filter}");
        }
    }
}

on_both_stores! {
    flavor = "multi_thread";

    async fn a_ban_wins_over_a_join_at_the_same_moment(stage: Stage) {
        let (mut ann, mut eve) = (stage.connect("ann").await, stage.connect("eve").await);
        let logs = stage.logs().await;
        for _ in 0..10 {
            let room = ann.create("public", &[]).await;
            let join = json!({ "method": "room.join", "data": room.alone() });
            let (_, reply) =
                tokio::join!(ann.call("member.ban", room.with("eve")), eve.ask("rpc", join));
            let events = logs.since(&room, 1).await;
            match reply["error"]["reason"].as_str() {
                // The ban was first, or the join was, and then she was put out.
                Some(reason) => assert_eq!((reason, events.len()), ("banned", 1), "{reply}"),
                None => {
                    let first = events[0]["change"].as_str();
                    assert_eq!((first, events.len()), (Some("joined"), 2));
                }
            }
            assert_eq!(events.last().unwrap(), &event("eve", "banned"));
            assert_eq!(ann.call("room.get", room.alone()).await["members"], 1);
            assert_eq!(eve.denied("room.get", room.alone()).await, banned());
        }
    }

    async fn a_ban_ends_a_subscription_that_is_made_at_the_same_moment(stage: Stage) {
        let (mut ann, mut eve) = (stage.connect("ann").await, stage.connect("eve").await);
        for _ in 0..10 {
            let room = ann.create("public", &[]).await;
            let subscribe = json!({ "channel": room.channel });
            let (_, reply) = tokio::join!(
                ann.call("member.ban", room.with("eve")),
                eve.ask("subscribe", subscribe)
            );
            match reply["error"]["reason"].as_str() {
                Some(reason) => assert_eq!(reason, "banned"),
                None => assert_eq!(eve.push("unsubscribe").await["channel"], room.channel),
            }
        }
    }
}
