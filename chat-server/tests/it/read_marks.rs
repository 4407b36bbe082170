//! Read marks: forward only, and what is unread behind them.

use chat_server::channel::ChannelName;
use chat_server::room::{Denied, Kind, LogId, Role, RoomId};
use chat_server::store::{Appended, Change, Deletion, Error, Mark, Marked, Range, Tell, Unread};
use serde_json::{Value, json};

use crate::harness::vault::{Vault, draft};
use crate::harness::{Stage, on_both_stores};

async fn post(vault: &Vault, room: RoomId, sender: &str, count: usize) -> Vec<Appended> {
    let drafts: Vec<_> = (0..count).map(|_| draft(room, sender, None)).collect();
    let outcomes = vault.store.append(&drafts).await.unwrap();
    outcomes.into_iter().map(Result::unwrap).collect()
}

async fn mark(
    vault: &Vault,
    room: RoomId,
    user: &str,
    offset: u64,
) -> Result<Change<Marked>, Error> {
    vault.store.mark(&Mark { room, user: user.into(), offset }, Tell::Now).await
}

async fn unread(vault: &Vault, room: RoomId, user: &str) -> u64 {
    vault.store.unread(room, user).await.unwrap().unread
}

async fn feed(vault: &Vault, user: &str) -> Vec<Value> {
    let page = vault.store.page(LogId::of_feed(user), Range::After(0), 1000).await.unwrap();
    page.iter().map(|event| serde_json::from_slice(event.data.as_bytes()).unwrap()).collect()
}

on_both_stores! {
    async fn a_mark_goes_forward_only(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        post(&vault, room, "bob", 5).await;
        assert_eq!(unread(&vault, room, "ann").await, 5);
        let marked = mark(&vault, room, "ann", 3).await.unwrap().value;
        let here = Unread { room, unread: 2, offset: 3, head: 5 };
        assert_eq!(marked, Marked { unread: here, has_moved: true });
        for offset in [0, 2, 3] {
            let back = mark(&vault, room, "ann", offset).await.unwrap();
            assert_eq!(back, Change::nothing(Marked { unread: here, has_moved: false }));
        }
        assert_eq!(mark(&vault, room, "ann", 5).await.unwrap().value.unread.unread, 0);
        assert_eq!(unread(&vault, room, "bob").await, 0);
    }

    async fn nobody_has_read_what_is_not_written(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        post(&vault, room, "bob", 2).await;
        for (offset, got) in [(3, 3), ((1 << 53) - 1, (1 << 53) - 1)] {
            let refused = mark(&vault, room, "ann", offset).await;
            let is_beyond =
                matches!(refused, Err(Error::BeyondHead { head: 2, got: it }) if it == got);
            assert!(is_beyond, "{refused:?}");
        }
        assert_eq!(unread(&vault, room, "ann").await, 2);
    }

    async fn a_mark_takes_a_membership(vault: Vault) {
        let room = vault.room_of(&["ann"]).await;
        post(&vault, room, "ann", 1).await;
        let refused = mark(&vault, room, "stranger", 1).await;
        assert!(matches!(refused, Err(Error::Denied(Denied::NotAMember))), "{refused:?}");
        vault.member(room, "guest", Some(Role::Guest)).await;
        assert!(mark(&vault, room, "guest", 1).await.unwrap().value.has_moved);
        vault.run(format!("UPDATE members SET banned_until = {}", i64::MAX)).await;
        let refused = mark(&vault, room, "ann", 1).await;
        assert!(matches!(refused, Err(Error::Denied(Denied::Banned { .. }))), "{refused:?}");
    }

    async fn unread_are_messages_of_others_that_are_there(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        let said = post(&vault, room, "bob", 3).await;
        post(&vault, room, "ann", 2).await;
        let deletion = Deletion { room, id: said[1].id, by: "bob".into(), reason: None };
        vault.store.delete(&deletion).await.unwrap();
        // Three of bob's less the deleted one; neither ann's own nor the deletion.
        assert_eq!(unread(&vault, room, "ann").await, 2);
        assert_eq!(unread(&vault, room, "bob").await, 2);
    }

    async fn unread_is_counted_to_a_thousand(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        post(&vault, room, "bob", 1001).await;
        assert_eq!(unread(&vault, room, "ann").await, 1000);
        assert_eq!(mark(&vault, room, "ann", 1).await.unwrap().value.unread.unread, 1000);
        assert_eq!(mark(&vault, room, "ann", 2).await.unwrap().value.unread.unread, 999);
    }

    async fn who_joins_starts_at_the_head_of_that_moment(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        let before = post(&vault, room, "bob", 3).await;
        mark(&vault, room, "ann", 1).await.unwrap();
        assert_eq!(unread(&vault, room, "ann").await, 2);
        // She went, and comes again behind the three.
        let joined_at = before[2].time_ms + 1;
        let sql = format!("UPDATE members SET joined_at = {joined_at} WHERE user_id = 'ann'");
        vault.run("UPDATE read_marks SET updated_at = 1").await;
        vault.run(sql).await;
        let here = vault.store.unread(room, "ann").await.unwrap();
        assert_eq!(here, Unread { room, unread: 0, offset: 3, head: 3 });
        let back = mark(&vault, room, "ann", 2).await.unwrap().value;
        assert!(!back.has_moved);
        let time = format!("UPDATE messages SET created_at = {joined_at} + 1 WHERE off > 3");
        post(&vault, room, "bob", 2).await;
        vault.run(time).await;
        assert_eq!(unread(&vault, room, "ann").await, 2);
        let marked = mark(&vault, room, "ann", 4).await.unwrap().value;
        assert_eq!((marked.has_moved, marked.unread.unread), (true, 1));
    }

    async fn the_other_devices_are_told_in_the_feed(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        post(&vault, room, "bob", 5).await;
        let change = mark(&vault, room, "ann", 2).await.unwrap();
        assert_eq!(change.published.len(), 1);
        let published = &change.published[0];
        assert_eq!(published.channel, *ChannelName::of_user("ann").shared());
        assert_eq!(published.event.offset, 1);
        let first = json!({ "type": "read", "room": room, "offset": 2, "unread": 3 });
        assert_eq!(feed(&vault, "ann").await, std::slice::from_ref(&first));

        // Several marks, and one event with where they ended.
        for offset in [3, 4] {
            let mark = Mark { room, user: "ann".into(), offset };
            let change = vault.store.mark(&mark, Tell::Later).await.unwrap();
            assert!(change.value.has_moved && change.published.is_empty());
        }
        let told = vault.store.tell_mark(room, "ann").await.unwrap();
        assert_eq!(told.value.map(|it| (it.offset, it.unread)), Some((4, 1)));
        let last = json!({ "type": "read", "room": room, "offset": 4, "unread": 1 });
        assert_eq!(feed(&vault, "ann").await, [first, last]);

        vault.member(room, "ann", None).await;
        let told = vault.store.tell_mark(room, "ann").await.unwrap();
        assert_eq!(told, Change::nothing(None));
    }

    async fn two_devices_at_once_leave_the_farther_mark(vault: Vault) {
        let room = vault.room_of(&["ann", "bob"]).await;
        post(&vault, room, "bob", 40).await;
        let node = vault.node().await;
        let marks = (1..=40).map(|turn| {
            // Forward on one node, backward on the other.
            let (store, offset) =
                if turn % 2 == 0 { (&vault.store, turn) } else { (&node, 40 - turn) };
            let mark = Mark { room, user: "ann".into(), offset };
            async move { store.mark(&mark, Tell::Now).await.unwrap().value.has_moved }
        });
        let moved = futures_util::future::join_all(marks).await;
        let moved = moved.into_iter().filter(|it| *it).count();
        assert_eq!(vault.store.unread(room, "ann").await.unwrap().offset, 40);
        let told = feed(&vault, "ann").await;
        assert_eq!(told.len(), moved);
        assert!(told.is_sorted_by_key(|event| event["offset"].as_u64()), "{told:?}");
    }

    async fn the_list_has_every_room_one_is_in_a_page_at_a_time(vault: Vault) {
        let mut rooms = Vec::new();
        for unread in 0..7 {
            let kind = [Kind::Public, Kind::Private, Kind::Direct][unread % 3];
            let room = vault.room(kind).await;
            vault.member(room, "ann", Some(Role::Member)).await;
            vault.member(room, "bob", Some(Role::Member)).await;
            if unread > 0 {
                post(&vault, room, "bob", unread).await;
            }
            rooms.push((room, unread as u64));
        }
        let left = vault.room_of(&["bob"]).await;
        vault.member(left, "ann", None).await;
        mark(&vault, rooms[6].0, "ann", 4).await.unwrap();
        rooms[6].1 = 2;
        rooms.sort_unstable();

        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = vault.store.unread_list("ann", after, 3).await.unwrap();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            after = Some(last.room);
            found.extend(page.iter().map(|it| (it.room, it.unread)));
        }
        assert_eq!(found, rooms);
        assert_eq!(vault.store.unread_list("nobody", None, 3).await.unwrap(), []);
    }
}

on_both_stores! {
    async fn another_device_and_the_room_hear_how_far_one_has_read(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        let mut phone = stage.connect("bob").await;
        ann.subscribe(&room.channel).await;
        let mut last = 0;
        for number in 0..12 {
            let message = json!({ "type": "message", "body": format!("message {number}") });
            last = ann.publish(&room.channel, message).await["offset"].as_u64().unwrap();
        }
        let ask = |offset: u64| json!({ "room": room.id, "offset": offset });
        for offset in last - 9..=last {
            let marked = bob.call("read.mark", ask(offset)).await;
            assert_eq!(marked, json!({ "unread": last - offset }));
        }
        // Ten marks, few events: the last one says where it ended.
        let mut heard = Vec::new();
        while heard.last().is_none_or(|event: &Value| event["offset"] != last) {
            let event = phone.hears("user:bob").await;
            if event["type"] == "read" {
                heard.push(event);
            }
        }
        let is_last = json!({ "type": "read", "room": room.id, "offset": last, "unread": 0 });
        assert_eq!(*heard.last().unwrap(), is_last);
        assert!(heard.len() < 10, "{heard:?}");
        let push = ann
            .expect(|message| message["push"]["pub"]["data"]["offset"] == last)
            .await["push"]["pub"]
            .clone();
        assert_eq!(push["data"], json!({ "type": "read", "user": "bob", "offset": last }));
        assert!(push["offset"].is_null(), "what cannot be recovered has no offset: {push}");
    }

    async fn the_last_mark_gets_out_when_the_server_goes(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        let message = json!({ "type": "message", "body": "hi" });
        ann.publish(&room.channel, message.clone()).await;
        let last = ann.publish(&room.channel, message).await["offset"].as_u64().unwrap();
        for offset in 1..=last {
            bob.call("read.mark", json!({ "room": room.id, "offset": offset })).await;
        }
        drop((ann, bob));
        let stage = stage.restart().await;
        let told = stage.logs().await.feed("bob").await;
        let end = json!({ "type": "read", "room": room.id, "offset": last, "unread": 0 });
        assert_eq!(told.last(), Some(&end));
    }

    async fn in_a_crowd_nobody_sees_how_far_the_others_have_read(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &["bob", "eve"]).await;
        ann.subscribe(&room.channel).await;
        let message = json!({ "type": "message", "body": "hi" });
        let mut crowd = Vec::new();
        for (reader, strangers, is_shown) in [("bob", 0, true), ("eve", 100, false)] {
            let mut reader = stage.connect(reader).await;
            for stranger in 0..strangers {
                let mut stranger = stage.connect(&format!("stranger{stranger}")).await;
                stranger.subscribe(&room.channel).await;
                crowd.push(stranger);
            }
            let said = ann.publish(&room.channel, message.clone()).await;
            let ask = json!({ "room": room.id, "offset": said["offset"] });
            reader.call("read.mark", ask).await;
            // What is heard behind the mark comes behind what was told of the mark.
            let behind = ann.publish(&room.channel, message.clone()).await["offset"].clone();
            let mut heard = Vec::new();
            while heard.last().is_none_or(|push: &Value| push["offset"] != behind) {
                heard.push(ann.publication().await);
            }
            let is_mark = |push: &Value| push["data"]["type"] == "read";
            assert_eq!(heard.iter().any(is_mark), is_shown, "{strangers}: {heard:?}");
        }
    }

    async fn a_mark_is_refused_with_what_there_is(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let error = ann.call_refused("read.mark", json!({ "room": room.id, "offset": 9 })).await;
        let named = (&error["code"], &error["field"], &error["limit"], &error["got"]);
        assert_eq!(named, (&json!(400), &json!("offset"), &json!(1), &json!(9)));
        for offset in [json!(-1), json!("1"), json!(1.5), json!(1u64 << 53), Value::Null] {
            let ask = json!({ "room": room.id, "offset": offset });
            let error = ann.call_refused("read.mark", ask).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("offset")));
        }
        // A public room is read by everyone, and marked by those who are in it.
        let mut bob = stage.connect("bob").await;
        let denied = bob.denied("read.mark", json!({ "room": room.id, "offset": 1 })).await;
        assert_eq!(denied, (103, "not_a_member".to_owned()));
    }

    async fn who_joins_has_nothing_to_read(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("public", &[]).await;
        let say = json!({ "type": "message", "body": "hi" });
        ann.publish(&room.channel, say.clone()).await;
        bob.call("room.join", room.alone()).await;
        let list = bob.call("unread.list", json!({})).await;
        let here = json!({ "room": room.id, "unread": 0, "offset": 3, "head": 3 });
        assert_eq!(list, json!({ "rooms": [here] }));
        for unread in 1..=3 {
            ann.publish(&room.channel, say.clone()).await;
            let list = bob.call("unread.list", json!({})).await;
            let head = 3 + unread;
            let here = json!({ "room": room.id, "unread": unread, "offset": 3, "head": head });
            assert_eq!(list["rooms"], json!([here]));
        }
    }

    async fn the_list_is_paged_with_its_own_cursors(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let mut rooms = Vec::new();
        for _ in 0..5 {
            rooms.push(json!(ann.create("private", &[]).await.id));
        }
        let (mut found, mut ask) = (Vec::new(), json!({ "limit": 2 }));
        loop {
            let page = ann.call("unread.list", ask).await;
            found.extend(page["rooms"].as_array().unwrap().iter().map(|it| it["room"].clone()));
            if page["next"].is_null() {
                break;
            }
            ask = json!({ "limit": 2, "cursor": page["next"] });
        }
        assert_eq!(found, rooms);
        let other = ann.call("room.list", json!({ "limit": 2 })).await["next"].clone();
        assert!(other.is_string());
        let error = ann.call_refused("unread.list", json!({ "cursor": other })).await;
        assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("cursor")));
    }
}
