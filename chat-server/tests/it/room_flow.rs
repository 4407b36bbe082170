//! A room from its first message to somebody who comes back days later, through the socket.

use serde_json::{Value, json};

use crate::harness::{Backend, Client, Stage, on_both_stores};

/// A method that is done.
async fn call(client: &mut Client, method: &str, data: Value) -> Value {
    let reply = client.ask("rpc", json!({ "method": method, "data": data })).await;
    assert!(reply["rpc"]["data"].is_object(), "{method}: {reply}");
    reply["rpc"]["data"].clone()
}

/// Somebody in a room, subscribed to its channel.
async fn inside(stage: &Stage, user: &str, channel: &str) -> Client {
    let mut client = stage.connect(user).await;
    client.subscribe(channel).await;
    client
}

async fn say(client: &mut Client, channel: &str, body: &str) -> Value {
    client.publish(channel, json!({ "type": "message", "body": body })).await
}

/// The next event in the room, as (offset, data).
async fn event(client: &mut Client, channel: &str) -> (u64, Value) {
    let push = client
        .expect(|message| {
            message["push"]["channel"] == channel && message["push"]["pub"]["offset"].is_u64()
        })
        .await["push"]["pub"]
        .clone();
    (push["offset"].as_u64().unwrap(), push["data"].clone())
}

/// A room of Ann with Bob as a member: its id and channel, at offset 2 (they came in).
async fn room(ann: &mut Client) -> (String, String) {
    let asked = json!({ "name": "music", "visibility": "private", "members": ["bob"] });
    let made = call(ann, "room.create", asked).await;
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), text("channel"))
}

on_both_stores! {
    async fn members_hear_everything_that_happens_in_one_order(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let (id, channel) = room(&mut ann).await;
        ann.subscribe(&channel).await;
        let mut bob = inside(&stage, "bob", &channel).await;
        let said = say(&mut ann, &channel, "hello").await;
        assert_eq!(said["status"], "accepted", "{said}");
        let (first, message) = event(&mut bob, &channel).await;
        assert_eq!((&said["offset"], &said["id"]), (&json!(first), &message["id"]));
        assert_eq!((&message["body"], &message["sender"]["id"]), (&json!("hello"), &json!("ann")));
        let of_it = json!({ "room": id, "id": message["id"] });
        let with = |more: Value| {
            let mut data = of_it.clone();
            data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            data
        };
        call(&mut bob, "message.react", with(json!({ "emoji": "🎸" }))).await;
        call(&mut ann, "message.edit", with(json!({ "body": "hello all" }))).await;
        call(&mut ann, "member.mute", json!({ "room": id, "user": "bob" })).await;
        call(&mut ann, "message.delete", of_it.clone()).await;
        for client in [&mut ann, &mut bob] {
            let mut kinds = Vec::new();
            let mut offset = 0;
            while kinds.last() != Some(&json!("delete")) {
                let (at, data) = event(client, &channel).await;
                assert!(offset == 0 || at == offset + 1, "{at} after {offset}");
                offset = at;
                kinds.push(data["type"].clone());
            }
            assert!(kinds.ends_with(&[
                json!("reaction"), json!("edit"), json!("member"), json!("delete"),
            ]), "{kinds:?}");
        }
    }

    async fn who_comes_back_days_later_finds_everything_as_it_stands(backend: Backend) {
        let stage = Stage::on_with(backend, &[("MAX_MESSAGE_RATE", "10000")]).await;
        let mut ann = stage.connect("ann").await;
        let (id, channel) = room(&mut ann).await;
        let mut bob = stage.connect("bob").await;
        let here = bob.subscribe(&channel).await;
        drop(bob);
        for number in 0..300 {
            say(&mut ann, &channel, &format!("message {number}")).await;
        }
        let last = say(&mut ann, &channel, "secret").await;
        let of_it = json!({ "room": id, "id": last["id"] });
        call(&mut ann, "message.delete", of_it).await;
        let stage = stage.restart().await;
        let mut bob = stage.connect("bob").await;
        let back = json!({
            "channel": channel, "recover": true,
            "offset": here["offset"], "epoch": here["epoch"],
        });
        let reply = bob.ask("subscribe", back).await["subscribe"].clone();
        assert_eq!(reply["recovered"], true, "{reply}");
        let mut seen = reply["publications"].as_array().unwrap().clone();
        let head = last["offset"].as_u64().unwrap() + 1;
        while seen.last().unwrap()["offset"] != head {
            seen.push(bob.publication().await);
        }
        let from = here["offset"].as_u64().unwrap();
        let offsets: Vec<_> = seen.iter().map(|event| event["offset"].as_u64().unwrap()).collect();
        assert_eq!(offsets, (from + 1..=head).collect::<Vec<_>>());
        let [.., deleted, deletion] = seen.as_slice() else { panic!("{seen:?}") };
        assert!(deleted["data"]["body"].is_null() && deleted["data"]["deleted_at"].is_u64());
        assert_eq!(deletion["data"]["type"], "delete");
        assert!(!format!("{seen:?}").contains("secret"));
    }

    async fn memory_tells_of_an_edit_what_the_store_tells(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let (id, channel) = room(&mut ann).await;
        ann.subscribe(&channel).await;
        let first = say(&mut ann, &channel, "frist").await;
        say(&mut ann, &channel, "second").await;
        let edit = json!({ "room": id, "id": first["id"], "body": "first" });
        call(&mut ann, "message.edit", edit).await;
        let ask = json!({ "channel": channel, "limit": 3, "reverse": true });
        let in_memory = ann.ask("history", ask.clone()).await["history"].clone();
        let stage = stage.restart().await;
        let mut ann = stage.connect("ann").await;
        let stored = ann.ask("history", ask).await["history"].clone();
        assert_eq!(in_memory, stored);
        let message = &stored["publications"][2]["data"];
        assert_eq!(message["body"], "first", "{stored}");
        assert!(message["edited_at"].is_u64(), "{stored}");
    }

    async fn strangers_are_not_let_in_and_guests_only_read(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let (_, private) = room(&mut ann).await;
        let asked = json!({ "name": "open", "visibility": "public" });
        let public = call(&mut ann, "room.create", asked).await["channel"].clone();
        let mut cid = stage.connect("cid").await;
        let message = json!({ "type": "message", "body": "hi" });
        for (method, body) in [
            ("subscribe", json!({ "channel": private })),
            ("history", json!({ "channel": private, "limit": 1 })),
            ("presence", json!({ "channel": private })),
            ("publish", json!({ "channel": private, "data": message })),
            ("publish", json!({ "channel": public, "data": message })),
        ] {
            let error = cid.refused(method, body).await;
            assert_eq!((&error["code"], &error["reason"]), (&json!(103), &json!("not_a_member")));
        }
        let mut nobody = stage.anonymous().await;
        nobody.subscribe(public.as_str().unwrap()).await;
        say(&mut ann, public.as_str().unwrap(), "welcome").await;
        let (_, heard) = event(&mut nobody, public.as_str().unwrap()).await;
        assert_eq!(heard["body"], "welcome");
        let error = nobody.refused("publish", json!({ "channel": public, "data": message })).await;
        assert_eq!(error["reason"], "user_required", "{error}");
        for channel in ["room:1", "room:01890000-0000-7000-8000-000000000000"] {
            let error = ann.refused("subscribe", json!({ "channel": channel })).await;
            assert_eq!(error["code"], 102, "{error}");
        }
    }

    async fn a_banned_person_hears_nothing_more_and_cannot_come_back(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let (id, channel) = room(&mut ann).await;
        let mut bob = inside(&stage, "bob", &channel).await;
        call(&mut ann, "member.ban", json!({ "room": id, "user": "bob" })).await;
        let push = bob.push("unsubscribe").await;
        assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!(channel), &json!(2000)));
        say(&mut ann, &channel, "he is gone").await;
        let error = bob.refused("subscribe", json!({ "channel": channel })).await;
        assert_eq!((&error["code"], &error["reason"]), (&json!(403), &json!("banned")), "{error}");
        bob.expect_none("nothing of the room", |message| {
            message["push"]["channel"] == channel && message["push"]["pub"].is_object()
                && message["push"]["pub"]["data"]["body"] == "he is gone"
        }).await;
        let (_, told) = event(&mut bob, "user:bob").await;
        assert_eq!((&told["type"], &told["room"]), (&json!("member"), &json!(id)), "{told}");
    }

    async fn typing_is_for_who_may_write(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let (id, channel) = room(&mut ann).await;
        ann.subscribe(&channel).await;
        let mut bob = inside(&stage, "bob", &channel).await;
        let typing = json!({ "typing": { "channel": channel, "on": true } });
        bob.text(&json!({ "send": { "data": typing } }).to_string()).await;
        let is_typing = |message: &Value| message["push"]["pub"]["data"]["type"] == "typing";
        let heard = ann.expect(is_typing).await["push"]["pub"].clone();
        assert!(heard["offset"].is_null() && heard["info"]["user"] == "bob", "{heard}");
        call(&mut ann, "member.mute", json!({ "room": id, "user": "bob" })).await;
        bob.text(&json!({ "send": { "data": typing } }).to_string()).await;
        bob.ask("ping", json!({})).await;
        ann.expect_none("a muted person is not typing", is_typing).await;
    }
}
