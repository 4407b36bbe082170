//! Who is in a room and as what: coming, going, being brought in, ranked, muted and put out.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::rooms::Room;
use crate::harness::{Backend, Client, Stage, on_both_stores, unix};

fn said(room: &Room, user: &str, role: &str) -> Value {
    json!({ "room": room.id, "user": user, "role": role })
}

fn event(user: &str, change: &str, by: &str) -> Value {
    json!({ "type": "member", "user": user, "change": change, "by": by })
}

fn with(mut event: Value, field: &str, value: impl Into<Value>) -> Value {
    event[field] = value.into();
    event
}

/// A public room of ann's in which everybody is what they are called.
async fn court(stage: &Stage) -> (Client, Room) {
    let mut ann = stage.connect("ann").await;
    let people = ["guest", "member", "moderator", "admin", "owner"];
    let room = ann.create("public", &people).await;
    for role in people {
        ann.call("member.role", said(&room, role, role)).await;
    }
    (ann, room)
}

/// Who is in a room, as it says itself, with what they are.
async fn roll(client: &mut Client, room: &Room) -> Vec<(String, String)> {
    let members = client.call("room.members", room.alone()).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let members = members["members"].as_array().unwrap().iter();
    members.map(|member| (text(&member["user"]), text(&member["role"]))).collect()
}

on_both_stores! {
    async fn whoever_joins_is_a_member_and_joining_again_changes_nothing(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &[]).await;
        for _ in 0..2 {
            let seat = bob.call("room.join", room.alone()).await;
            assert_eq!(seat, json!({ "role": "member", "offset": 2 }));
        }
        let again = ann.call("room.join", room.alone()).await;
        assert_eq!(again, json!({ "role": "owner", "offset": 2 }));
        let joined = with(event("bob", "joined", "bob"), "role", "member");
        let logs = stage.logs().await;
        assert_eq!(logs.since(&room, 1).await, std::slice::from_ref(&joined));
        assert_eq!(logs.feed("bob").await, [with(joined, "room", room.id.as_str())]);
        assert_eq!(logs.audit(&room).await, Vec::<Value>::new(), "coming is everyone's right");
        let secret = ann.create("private", &[]).await;
        let denied = bob.denied("room.join", secret.alone()).await;
        assert_eq!(denied, (103, "not_a_member".to_owned()));
    }

    async fn the_last_owner_stays(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        let last = (409, "last_owner".to_owned());
        assert_eq!(ann.denied("room.leave", room.alone()).await, last);
        assert_eq!(ann.denied("member.role", said(&room, "ann", "admin")).await, last);
        ann.call("member.role", said(&room, "bob", "owner")).await;
        assert_eq!(ann.call("room.leave", room.alone()).await, json!({ "offset": 4 }));
        assert_eq!(bob.denied("room.leave", room.alone()).await, last);
        let gone = ann.denied("room.leave", room.alone()).await;
        assert_eq!(gone, (103, "not_a_member".to_owned()));
        let logs = stage.logs().await;
        assert_eq!(logs.since(&room, 3).await, [event("ann", "left", "ann")]);
        assert_eq!(roll(&mut bob, &room).await, [("bob".to_owned(), "owner".to_owned())]);
        // Whoever comes back is what everybody is at first.
        assert_eq!(ann.call("room.join", room.alone()).await["role"], "member");
    }

    async fn an_owner_steps_down_for_another(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("private", &["bob"]).await;
        ann.call("member.role", said(&room, "bob", "owner")).await;
        ann.call("member.role", said(&room, "ann", "guest")).await;
        let denied = ann.denied("member.role", said(&room, "ann", "owner")).await;
        assert_eq!(denied, (103, "role".to_owned()));
        let logs = stage.logs().await;
        let ranks = [
            with(event("bob", "role", "ann"), "role", "owner"),
            with(event("ann", "role", "ann"), "role", "guest"),
        ];
        assert_eq!(logs.since(&room, 2).await, ranks);
        let audit = [
            json!(["ann", "member.role", "bob", { "role": "owner", "before": "member" }]),
            json!(["ann", "member.role", "ann", { "role": "guest", "before": "owner" }]),
        ];
        assert_eq!(logs.audit(&room).await, audit);
    }

    async fn an_invitation_brings_somebody_in(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        let denied = bob.denied("room.invite", room.with("eve")).await;
        assert_eq!(denied, (103, "role".to_owned()), "members invite into public rooms only");
        let seat = ann.call("room.invite", room.with("eve")).await;
        assert_eq!(seat, json!({ "role": "member", "offset": 3 }));
        let joined = with(event("eve", "joined", "ann"), "role", "member");
        let logs = stage.logs().await;
        assert_eq!(logs.since(&room, 2).await, std::slice::from_ref(&joined));
        assert_eq!(logs.feed("eve").await, [with(joined, "room", room.id.as_str())]);
        for user in ["eve", "ann"] {
            let denied = ann.denied("room.invite", room.with(user)).await;
            assert_eq!(denied, (409, "already_member".to_owned()));
        }
        let mut eve = stage.connect("eve").await;
        assert_eq!(eve.call("room.get", room.alone()).await["role"], "member");
        let public = ann.create("public", &["bob"]).await;
        bob.call("room.invite", public.with("eve")).await;
        let mut zoe = stage.connect("zoe").await;
        let denied = zoe.denied("room.invite", public.with("dan")).await;
        assert_eq!(denied, (103, "not_a_member".to_owned()));
    }

    async fn roles_are_given_below_ones_own(stage: Stage) {
        let (mut ann, room) = court(&stage).await;
        let above = (103, "role_above_own".to_owned());
        let mut admin = stage.connect("admin").await;
        for (user, role) in
            [("member", "admin"), ("member", "owner"), ("owner", "member"), ("admin", "member")]
        {
            assert_eq!(admin.denied("member.role", said(&room, user, role)).await, above);
        }
        admin.call("member.role", said(&room, "member", "moderator")).await;
        let mut moderator = stage.connect("moderator").await;
        let denied = moderator.denied("member.role", said(&room, "guest", "member")).await;
        assert_eq!(denied, (103, "role".to_owned()));
        let denied = ann.denied("member.role", said(&room, "nobody", "member")).await;
        assert_eq!(denied, (404, "not_found".to_owned()));

        // The role somebody has already is given to nobody.
        let head = ann.call("room.get", room.alone()).await["head"].clone();
        let placed = ann.call("member.role", said(&room, "member", "moderator")).await;
        assert_eq!(placed["offset"], head);
        assert_eq!(ann.call("room.get", room.alone()).await["head"], head);
        ann.call("member.role", said(&room, "owner", "guest")).await;
    }

    async fn moderation_reaches_only_those_below(stage: Stage) {
        let (_ann, room) = court(&stage).await;
        let above = (103, "role_above_own".to_owned());
        let role = (103, "role".to_owned());
        let acts = ["member.mute", "member.unmute", "member.kick", "member.ban", "member.unban"];
        for (by, to, expected) in [
            ("moderator", "moderator", &above),
            ("moderator", "admin", &above),
            ("admin", "owner", &above),
            ("owner", "ann", &above),
            ("owner", "owner", &above),
            ("member", "guest", &role),
            ("guest", "member", &role),
            ("member", "member", &role),
        ] {
            let mut client = stage.connect(by).await;
            for act in acts {
                let denied = client.denied(act, room.with(to)).await;
                assert_eq!(denied, *expected, "{act} of {to} by {by}");
            }
        }
        let mut stranger = stage.connect("eve").await;
        for act in acts {
            let denied = stranger.denied(act, room.with("guest")).await;
            assert_eq!(denied, (103, "not_a_member".to_owned()));
        }
        let mut moderator = stage.connect("moderator").await;
        for act in acts {
            moderator.call(act, room.with("member")).await;
        }
    }

    async fn a_mute_outlives_leaving_and_ends_when_it_is_said(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        let logs = stage.logs().await;
        let until = (unix() + 3600) * 1000;
        let mute = json!({ "room": room.id, "user": "bob", "until": until, "reason": "spam" });
        for _ in 0..2 {
            assert_eq!(ann.call("member.mute", mute.clone()).await, json!({ "offset": 3 }));
        }
        let muted = with(event("bob", "muted", "ann"), "until", until);
        assert_eq!(logs.since(&room, 2).await, std::slice::from_ref(&muted));
        assert_eq!(logs.feed("bob").await[1], with(muted, "room", room.id.as_str()));

        let message =
            json!({ "channel": room.channel, "data": { "type": "message", "body": "hi" } });
        let refused = bob.refused("publish", message.clone()).await;
        assert_eq!((&refused["code"], &refused["reason"]), (&json!(403), &json!("muted")));
        assert!(refused["retry_after_ms"].as_u64().unwrap() <= 3_600_000, "{refused}");
        bob.call("room.leave", room.alone()).await;
        bob.call("room.join", room.alone()).await;
        let seen = bob.call("room.get", room.alone()).await;
        assert_eq!((&seen["muted"], &seen["muted_until"]), (&json!(true), &json!(until)));
        let members = ann.call("room.members", room.alone()).await;
        assert_eq!(members["members"][0].get("muted"), None);
        assert_eq!(members["members"][1]["muted_until"], until);

        // For ever is another mute, and has no end to be told.
        assert_eq!(ann.call("member.mute", room.with("bob")).await, json!({ "offset": 6 }));
        assert_eq!(logs.since(&room, 5).await, [event("bob", "muted", "ann")]);
        let seen = bob.call("room.get", room.alone()).await;
        assert_eq!((&seen["muted"], seen.get("muted_until")), (&json!(true), None));
        for _ in 0..2 {
            assert_eq!(ann.call("member.unmute", room.with("bob")).await, json!({ "offset": 7 }));
        }
        assert_eq!(logs.since(&room, 6).await, [event("bob", "unmuted", "ann")]);
        assert_eq!(bob.call("room.get", room.alone()).await.get("muted"), None);
        let denied = ann.denied("member.mute", room.with("nobody")).await;
        assert_eq!(denied, (404, "not_found".to_owned()));
        let audit = [
            json!(["ann", "member.mute", "bob", { "until": until, "reason": "spam" }]),
            json!(["ann", "member.mute", "bob", {}]),
            json!(["ann", "member.unmute", "bob", {}]),
        ];
        assert_eq!(logs.audit(&room).await, audit);
    }

    async fn whoever_is_kicked_out_of_a_private_room_hears_it_no_more(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob", "eve"]).await;
        let mut eve = stage.connect("eve").await;
        for client in [&mut ann, &mut bob, &mut eve] {
            client.subscribe(&room.channel).await;
        }
        let kick = json!({ "room": room.id, "user": "bob", "reason": "rude" });
        assert_eq!(ann.call("member.kick", kick).await, json!({ "offset": 4 }));
        let push = bob.push("unsubscribe").await;
        assert_eq!(
            (&push["channel"], &push["unsubscribe"]["code"]),
            (&json!(room.channel), &json!(2000))
        );
        let kicked = event("bob", "kicked", "ann");
        assert_eq!(bob.hears("user:bob").await["change"], "joined");
        assert_eq!(bob.hears("user:bob").await, with(kicked.clone(), "room", room.id.as_str()));
        assert_eq!(ann.hears(&room.channel).await, kicked);
        assert_eq!(eve.hears(&room.channel).await, kicked);
        let refused = bob.refused("subscribe", json!({ "channel": room.channel })).await;
        assert_eq!(refused["reason"], "not_a_member");
        let refused = bob.refused("history", json!({ "channel": room.channel, "limit": 1 })).await;
        assert_eq!(refused["reason"], "not_a_member");
        assert_eq!(
            ann.denied("member.kick", room.with("bob")).await,
            (404, "not_found".to_owned())
        );

        // Who goes by themselves hears no more either; others go on.
        eve.call("room.leave", room.alone()).await;
        assert_eq!(eve.push("unsubscribe").await["channel"], room.channel);
        assert_eq!(ann.hears(&room.channel).await, event("eve", "left", "eve"));
        let audit = json!(["ann", "member.kick", "bob", { "before": "member", "reason": "rude" }]);
        assert_eq!(stage.logs().await.audit(&room).await, [audit]);
    }

    async fn whoever_is_kicked_out_of_a_public_room_reads_on_and_may_come_back(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        bob.subscribe(&room.channel).await;
        ann.call("member.kick", room.with("bob")).await;
        assert_eq!(bob.hears(&room.channel).await, event("bob", "kicked", "ann"));
        let message =
            json!({ "channel": room.channel, "data": { "type": "message", "body": "hi" } });
        assert_eq!(bob.refused("publish", message.clone()).await["reason"], "not_a_member");
        bob.call("room.join", room.alone()).await;
        let joined = with(event("bob", "joined", "bob"), "role", "member");
        assert_eq!(bob.hears(&room.channel).await, joined);
        assert!(bob.ask("publish", message).await["publish"]["offset"].is_number());
    }

    async fn members_come_page_by_page_in_the_order_of_their_ids(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let people = ["bob", "Zoe", "ünal", "dan", "用户"];
        let room = ann.create("private", &people).await;
        let other = ann.create("private", &people).await;
        let (mut seen, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let data = json!({ "room": room.id, "limit": 2, "cursor": cursor });
            let page = ann.call("room.members", data).await;
            let members = page["members"].as_array().unwrap();
            assert_eq!(members.len(), 2);
            seen.extend(members.iter().map(|it| it["user"].as_str().unwrap().to_owned()));
            let Some(next) = page.get("next") else { break };
            cursor = next.clone();
            let data = json!({ "room": other.id, "cursor": cursor });
            let error = ann.call_refused("room.members", data).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("cursor")));
        }
        assert_eq!(seen, ["Zoe", "ann", "bob", "dan", "ünal", "用户"]);
    }
}

on_both_stores! {
    flavor = "multi_thread";

    async fn twenty_join_at_once(backend: Backend) {
        // A connection takes long to make in a build for tests: more would only wait for the lock.
        let stage = Stage::on_with(backend, &[("DATABASE_POOL_SIZE", "4")]).await;
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let users: Vec<String> = (0..20).map(|number| format!("user {number}")).collect();
        let clients = join_all(users.iter().map(|user| stage.connect(user))).await;
        let joins = clients.into_iter().map(|mut client| {
            let data = room.alone();
            async move { client.call("room.join", data).await["offset"].as_u64().unwrap() }
        });
        let offsets: BTreeSet<u64> = join_all(joins).await.into_iter().collect();
        assert_eq!(offsets, (2..=21).collect());
        let logs = stage.logs().await;
        assert_eq!(logs.room(&room).await.len(), 21);
        assert_eq!(roll(&mut ann, &room).await.len(), 21);
        assert_eq!(ann.call("room.get", room.alone()).await["members"], 21);
        for user in users {
            assert_eq!(logs.feed(&user).await.len(), 1);
        }
    }

    async fn two_owners_step_down_at_once_and_one_stays(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        for _ in 0..5 {
            let room = ann.create("private", &["bob"]).await;
            ann.call("member.role", said(&room, "bob", "owner")).await;
            let down =
                |user| json!({ "method": "member.role", "data": said(&room, user, "admin") });
            let leave = json!({ "method": "room.leave", "data": room.alone() });
            let (first, second) = tokio::join!(ann.ask("rpc", down("ann")), bob.ask("rpc", leave));
            let refused = [&first, &second].into_iter().filter(|reply| !reply["error"].is_null());
            let reasons: Vec<_> = refused.map(|reply| &reply["error"]["reason"]).collect();
            assert_eq!(reasons, ["last_owner"], "{first} {second}");
            let owners = roll(&mut ann, &room).await;
            assert_eq!(owners.iter().filter(|(_, role)| role == "owner").count(), 1);
        }
    }

    async fn the_count_of_members_is_their_number_whatever_happens_at_once(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let users: Vec<String> = (0..8).map(|number| format!("user {number}")).collect();
        let clients = join_all(users.iter().map(|user| stage.connect(user))).await;
        let coming_and_going = clients.into_iter().map(|mut client| {
            let room = room.clone();
            async move {
                for method in ["room.join", "room.leave"].into_iter().cycle().take(9) {
                    let call = json!({ "method": method, "data": room.alone() });
                    client.ask("rpc", call).await;
                }
            }
        });
        let mut keeper = stage.connect("ann").await;
        let keeping = async {
            for user in users.iter().cycle().take(32) {
                for method in ["member.kick", "room.invite"] {
                    let call = json!({ "method": method, "data": room.with(user) });
                    keeper.ask("rpc", call).await;
                }
            }
        };
        tokio::join!(join_all(coming_and_going), keeping);
        let roll = roll(&mut ann, &room).await;
        assert_eq!(ann.call("room.get", room.alone()).await["members"], roll.len());
        // Who is in it is who came and did not go, by the log.
        let mut inside = BTreeSet::new();
        for event in stage.logs().await.room(&room).await {
            let user = event["user"].as_str().unwrap().to_owned();
            let changed = match event["change"].as_str().unwrap() {
                "joined" => inside.insert(user),
                _ => inside.remove(&user),
            };
            assert!(changed, "nobody comes twice: {event}");
        }
        let roll: BTreeSet<String> = roll.into_iter().map(|(user, _)| user).collect();
        assert_eq!(inside, roll);
    }
}
