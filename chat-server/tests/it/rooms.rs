//! Rooms: made, seen, changed and closed, and who may do that.

use serde_json::{Value, json};

use crate::harness::rooms::Room;
use crate::harness::{Stage, on_both_stores};

fn joined(user: &str, role: &str, by: &str) -> Value {
    json!({ "type": "member", "user": user, "change": "joined", "role": role, "by": by })
}

fn in_feed(mut event: Value, room: &Room) -> Value {
    event["room"] = room.id.as_str().into();
    event
}

on_both_stores! {
    async fn a_room_begins_with_its_owner_and_those_who_were_named(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let members = ["bob", "ann", "eve", "bob"];
        let data = json!({
            "name": " Lobby ", "topic": "All of it", "visibility": "private", "members": members,
        });
        let made = ann.call("room.create", data).await;
        let id = made["id"].as_str().unwrap();
        assert_eq!(made, json!({ "id": id, "channel": format!("room:{id}"), "offset": 3 }));

        let room = Room { id: id.to_owned(), channel: format!("room:{id}") };
        let logs = stage.logs().await;
        let events = [
            joined("ann", "owner", "ann"),
            joined("bob", "member", "ann"),
            joined("eve", "member", "ann"),
        ];
        assert_eq!(logs.room(&room).await, events);
        for (user, event) in ["ann", "bob", "eve"].into_iter().zip(events) {
            assert_eq!(logs.feed(user).await, [in_feed(event, &room)]);
        }

        let mut seen = ann.call("room.get", room.alone()).await;
        let created_at = seen["created_at"].take().as_u64().unwrap();
        assert!(created_at > 1_600_000_000_000, "{created_at}");
        assert_eq!(
            seen,
            json!({
                "id": id, "channel": room.channel, "name": "Lobby", "topic": "All of it",
                "visibility": "private", "archived": false, "slow_mode": 0, "members": 3, "head": 3,
                "created_at": null, "created_by": "ann", "role": "owner",
            })
        );
    }

    async fn a_room_is_private_unless_it_is_said_to_be_public(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let made = ann.call("room.create", json!({ "name": "Lobby" })).await;
        let seen = ann.call("room.get", json!({ "room": made["id"] })).await;
        assert_eq!((&seen["visibility"], &seen["topic"]), (&json!("private"), &json!("")));
    }

    async fn a_room_can_begin_with_a_hundred_people_and_not_with_more(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let people = |count: u32| (0..count).map(|user| format!("user {user}")).collect::<Vec<_>>();
        let data = json!({ "name": "Lobby", "members": people(100) });
        let made = ann.call("room.create", data).await;
        assert_eq!(made["offset"], 101);
        let seen = ann.call("room.get", json!({ "room": made["id"] })).await;
        assert_eq!((&seen["members"], &seen["head"]), (&json!(101), &json!(101)));
        let data = json!({ "name": "Lobby", "members": people(101) });
        let error = ann.call_refused("room.create", data).await;
        assert_eq!((&error["code"], &error["reason"]), (&json!(400), &json!("too_many")));
        assert_eq!(error["field"], "members", "{error}");
        assert_eq!((&error["limit"], &error["got"]), (&json!(100), &json!(101)));
    }

    async fn strangers_see_public_rooms_and_learn_nothing_of_others(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let (public, private) = (ann.create("public", &[]).await, ann.create("private", &[]).await);
        let (mut eve, mut nobody) = (stage.connect("eve").await, stage.anonymous().await);
        for stranger in [&mut eve, &mut nobody] {
            let seen = stranger.call("room.get", public.alone()).await;
            assert_eq!((&seen["members"], seen.get("role")), (&json!(1), None));
            let members = stranger.call("room.members", public.alone()).await;
            assert_eq!(members["members"][0]["user"], "ann");
            for method in ["room.get", "room.members"] {
                let denied = stranger.denied(method, private.alone()).await;
                assert_eq!(denied, (103, "not_a_member".to_owned()));
                let unknown = json!({ "room": "00000000-0000-7000-8000-000000000000" });
                let error = stranger.call_refused(method, unknown).await;
                assert_eq!((&error["code"], &error["reason"]), (&json!(404), &json!("not_found")));
                assert_eq!(error["field"], "room");
            }
        }
        // A feed is a log as well, and no room.
        let feed = chat_server::room::LogId::of_feed("ann").uuid();
        let denied = ann.denied("room.get", json!({ "room": feed })).await;
        assert_eq!(denied, (404, "not_found".to_owned()));
    }

    async fn an_update_tells_what_changed_and_nothing_else(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("private", &["bob"]).await;
        let logs = stage.logs().await;
        let update = json!({
            "room": room.id, "name": "Lobby", "topic": "New", "slow_mode": 5,
            "visibility": "private",
        });
        assert_eq!(ann.call("room.update", update.clone()).await, json!({ "offset": 3 }));
        let event = json!({ "type": "room", "topic": "New", "slow_mode": 5 });
        assert_eq!(logs.since(&room, 2).await, std::slice::from_ref(&event));

        // Once more there is nothing to change, and nobody is told anything.
        assert_eq!(ann.call("room.update", update).await, json!({ "offset": 3 }));
        assert_eq!(ann.call("room.update", room.alone()).await, json!({ "offset": 3 }));
        assert_eq!(logs.since(&room, 3).await, Vec::<Value>::new());

        let update =
            json!({ "room": room.id, "name": "Hall", "topic": "", "visibility": "public" });
        assert_eq!(ann.call("room.update", update).await, json!({ "offset": 4 }));
        let second = json!({ "type": "room", "name": "Hall", "topic": "", "visibility": "public" });
        assert_eq!(logs.since(&room, 3).await, std::slice::from_ref(&second));
        let seen = stage.connect("eve").await.call("room.get", room.alone()).await;
        assert_eq!((&seen["name"], &seen["visibility"]), (&json!("Hall"), &json!("public")));
        assert_eq!((&seen["slow_mode"], &seen["topic"]), (&json!(5), &json!("")));
        let audit =
            [json!(["ann", "room.update", "", event]), json!(["ann", "room.update", "", second])];
        assert_eq!(logs.audit(&room).await, audit);
    }

    async fn retention_is_set_and_taken_back(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("private", &[]).await;
        let retention = |value: Value| json!({ "room": room.id, "retention": value });
        let (logs, mut offset) = (stage.logs().await, 1);
        for (value, told, seen) in [
            (json!(3600), json!(3600), Some(json!(3600))),
            (json!(null), json!(null), None),
            (json!(86400), json!(86400), Some(json!(86400))),
            (json!(0), json!(null), None),
        ] {
            offset += 1;
            let placed = ann.call("room.update", retention(value)).await;
            assert_eq!(placed, json!({ "offset": offset }));
            let event = json!({ "type": "room", "retention": told });
            assert_eq!(logs.since(&room, offset - 1).await, [event]);
            let room = ann.call("room.get", room.alone()).await;
            assert_eq!(room.get("retention"), seen.as_ref());
        }
        for (value, limit) in [(3599_u64, 3600_u64), (3_153_600_001, 3_153_600_000)] {
            let error = ann.call_refused("room.update", retention(json!(value))).await;
            assert_eq!((&error["code"], &error["reason"]), (&json!(400), &json!("range")));
            let told = (&error["field"], &error["limit"], &error["got"]);
            assert_eq!(told, (&json!("retention"), &json!(limit), &json!(value)));
        }
    }

    async fn an_archived_room_is_read_and_not_written(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        let data = json!({ "room": room.id, "user": "bob", "role": "admin" });
        ann.call("member.role", data).await;
        let denied = bob.denied("room.archive", room.alone()).await;
        assert_eq!(denied, (103, "role".to_owned()), "admins do not archive");
        for _ in 0..2 {
            assert_eq!(ann.call("room.archive", room.alone()).await, json!({ "offset": 4 }));
        }
        assert_eq!(ann.call("room.get", room.alone()).await["archived"], true);
        let logs = stage.logs().await;
        assert_eq!(logs.since(&room, 3).await, [json!({ "type": "room", "archived": true })]);

        let archived = (409, "archived".to_owned());
        let update = json!({ "room": room.id, "name": "Hall" });
        assert_eq!(ann.denied("room.update", update).await, archived);
        assert_eq!(ann.denied("room.invite", room.with("eve")).await, archived);
        let role = json!({ "room": room.id, "user": "bob", "role": "member" });
        assert_eq!(ann.denied("member.role", role).await, archived);
        let mut eve = stage.connect("eve").await;
        assert_eq!(eve.denied("room.join", room.alone()).await, archived);
        let message =
            json!({ "channel": room.channel, "data": { "type": "message", "body": "hi" } });
        assert_eq!(bob.refused("publish", message).await["reason"], "archived");
        // Order is kept, and whoever wants to go may go.
        ann.call("member.ban", room.with("eve")).await;
        assert_eq!(bob.call("room.leave", room.alone()).await, json!({ "offset": 6 }));

        let open = json!({ "room": room.id, "archived": false });
        assert_eq!(ann.call("room.archive", open).await, json!({ "offset": 7 }));
        assert_eq!(logs.since(&room, 6).await, [json!({ "type": "room", "archived": false })]);
        assert_eq!(bob.call("room.join", room.alone()).await["offset"], 8);
        let archives: Vec<_> = logs.audit(&room).await;
        let archives = archives.iter().filter(|act| act[1] == "room.archive").count();
        assert_eq!(archives, 2);
    }

    async fn a_room_is_changed_by_admins_and_owners_only(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &["bob"]).await;
        let update = |topic: &str| json!({ "room": room.id, "topic": topic });
        for role in ["guest", "member", "moderator"] {
            ann.call("member.role", json!({ "room": room.id, "user": "bob", "role": role })).await;
            assert_eq!(bob.denied("room.update", update(role)).await, (103, "role".to_owned()));
        }
        ann.call("member.role", json!({ "room": room.id, "user": "bob", "role": "admin" })).await;
        bob.call("room.update", update("by an admin")).await;
        let mut eve = stage.connect("eve").await;
        let denied = eve.denied("room.update", update("by a stranger")).await;
        assert_eq!(denied, (103, "not_a_member".to_owned()));
    }

    async fn whoever_is_no_member_is_put_out_when_a_room_is_closed(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let (mut eve, mut nobody) = (stage.connect("eve").await, stage.anonymous().await);
        let room = ann.create("public", &["bob"]).await;
        for client in [&mut ann, &mut bob, &mut eve, &mut nobody] {
            client.subscribe(&room.channel).await;
        }
        ann.call("room.update", json!({ "room": room.id, "visibility": "private" })).await;
        for guest in [&mut eve, &mut nobody] {
            let push = guest.push("unsubscribe").await;
            assert_eq!(push["channel"], room.channel);
            assert_eq!(push["unsubscribe"]["code"], 2000);
            let again = guest.refused("subscribe", json!({ "channel": room.channel })).await;
            assert_eq!(again["reason"], "not_a_member");
        }
        let event = json!({ "type": "room", "visibility": "private" });
        assert_eq!(ann.hears(&room.channel).await, event);
        assert_eq!(bob.hears(&room.channel).await, event);
        bob.expect_none("members stay", |message| message["push"]["unsubscribe"].is_object()).await;
    }
}

on_both_stores! {
    flavor = "multi_thread";

    async fn a_closed_room_keeps_no_guest_who_came_at_the_same_moment(stage: Stage) {
        let (mut ann, mut eve) = (stage.connect("ann").await, stage.connect("eve").await);
        for _ in 0..25 {
            let room = ann.create("public", &[]).await;
            let close = json!({ "room": room.id, "visibility": "private" });
            let subscribe = json!({ "channel": room.channel });
            let (_, reply) =
                tokio::join!(ann.call("room.update", close), eve.ask("subscribe", subscribe));
            match reply["error"]["reason"].as_str() {
                Some(reason) => assert_eq!(reason, "not_a_member"),
                None => assert_eq!(eve.push("unsubscribe").await["channel"], room.channel),
            }
        }
    }
}

#[tokio::test]
async fn everything_but_reading_takes_a_user() {
    let stage = Stage::start().await;
    let room = stage.connect("ann").await.create("public", &[]).await;
    let mut nobody = stage.anonymous().await;
    let data = json!({
        "room": room.id, "user": "bob", "name": "Lobby", "role": "member", "topic": "mine",
    });
    for method in [
        "room.create",
        "room.update",
        "room.archive",
        "room.join",
        "room.leave",
        "room.invite",
        "room.list",
        "member.role",
        "member.mute",
        "member.unmute",
        "member.kick",
        "member.ban",
        "member.unban",
        "dm.open",
    ] {
        let denied = nobody.denied(method, data.clone()).await;
        assert_eq!(denied, (101, "user_required".to_owned()), "{method}");
    }
    assert_eq!(stage.logs().await.room(&room).await.len(), 1);
}

#[tokio::test]
async fn a_field_that_is_missing_or_wrong_is_named() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    let room = ann.create("public", &["bob"]).await;
    let id = &room.id;
    for (method, data, field) in [
        ("room.create", json!({}), "name"),
        ("room.create", json!({ "name": null }), "name"),
        ("room.create", json!({ "name": 7 }), "name"),
        ("room.create", json!({ "name": "a", "topic": [] }), "topic"),
        ("room.create", json!({ "name": "a", "visibility": "direct" }), "visibility"),
        ("room.create", json!({ "name": "a", "visibility": true }), "visibility"),
        ("room.create", json!({ "name": "a", "members": "bob" }), "members"),
        ("room.create", json!({ "name": "a", "members": [7] }), "members"),
        ("room.create", json!({ "name": "a", "members": ["b\nb"] }), "members"),
        ("room.create", json!([]), "data"),
        ("room.get", json!({}), "room"),
        ("room.get", json!({ "room": "room:7" }), "room"),
        ("room.get", json!({ "room": 7 }), "room"),
        ("room.list", json!({ "filter": "mine" }), "filter"),
        ("room.list", json!({ "filter": 7 }), "filter"),
        ("room.list", json!({ "limit": 0 }), "limit"),
        ("room.list", json!({ "cursor": 7 }), "cursor"),
        ("room.list", json!({ "cursor": "AAAA" }), "cursor"),
        ("room.update", json!({ "name": "a" }), "room"),
        ("room.update", json!({ "room": id, "name": "" }), "name"),
        ("room.update", json!({ "room": id, "slow_mode": 21601 }), "slow_mode"),
        ("room.update", json!({ "room": id, "slow_mode": -1 }), "slow_mode"),
        ("room.update", json!({ "room": id, "slow_mode": "5" }), "slow_mode"),
        ("room.update", json!({ "room": id, "retention": 1.5 }), "retention"),
        ("room.update", json!({ "room": id, "visibility": "feed" }), "visibility"),
        ("room.archive", json!({ "room": id, "archived": 1 }), "archived"),
        ("room.join", json!({}), "room"),
        ("room.leave", json!({ "room": [] }), "room"),
        ("room.invite", json!({ "room": id }), "user"),
        ("room.invite", json!({ "room": id, "user": "" }), "user"),
        ("room.members", json!({ "room": id, "limit": "9" }), "limit"),
        ("room.members", json!({ "room": id, "cursor": "!" }), "cursor"),
        ("member.role", json!({ "room": id, "user": "bob" }), "role"),
        ("member.role", json!({ "room": id, "user": "bob", "role": "king" }), "role"),
        ("member.role", json!({ "room": id, "role": "guest" }), "user"),
        ("member.mute", json!({ "room": id, "user": "bob", "until": 1 }), "until"),
        ("member.mute", json!({ "room": id, "user": "bob", "until": "later" }), "until"),
        ("member.mute", json!({ "room": id, "user": "bob", "until": 1_u64 << 53 }), "until"),
        ("member.ban", json!({ "room": id, "user": "bob", "until": 1 }), "until"),
        ("member.ban", json!({ "room": id, "user": "bob", "reason": "a\u{202e}b" }), "reason"),
        ("member.kick", json!({ "room": id, "user": "bob", "reason": "x".repeat(501) }), "reason"),
        ("member.unban", json!({ "user": "bob" }), "room"),
    ] {
        let error = ann.call_refused(method, data.clone()).await;
        assert_eq!(error["code"], 400, "{method} {data}: {error}");
        assert_eq!(error["field"], field, "{method} {data}: {error}");
        assert!(error["message"].as_str().unwrap().contains(field), "{method} {data}: {error}");
    }
    assert_eq!(stage.logs().await.room(&room).await.len(), 2);
}

#[tokio::test]
async fn a_method_that_does_not_exist_is_not_available() {
    let stage = Stage::start().await;
    let mut ann = stage.connect("ann").await;
    for method in
        ["room.explode", "member.promote", "dm.close", "room", "room.", ".get", "rooms.get"]
    {
        let error = ann.call_refused(method, json!({ "room": 7 })).await;
        assert_eq!((&error["code"], &error["reason"]), (&json!(108), &json!("unknown_method")));
    }
}
