//! Messages over the socket: what is asked for, what is told, and what is there only once.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, Stage, on_both_stores};

fn with_idem(body: &str, idem: Uuid) -> Value {
    json!({ "type": "message", "body": body, "idem": idem })
}

/// Publishes and gives whatever comes back.
async fn publish(client: &mut Client, channel: &str, data: Value) -> Value {
    client.ask("publish", json!({ "channel": channel, "data": data })).await
}

on_both_stores! {
    async fn a_message_is_asked_for_as_it_stands(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        let said = ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await;
        let of_it = json!({ "room": room.id, "id": said["id"] });
        let with = |key: &str, value: &str| {
            let mut data = of_it.clone();
            data[key] = json!(value);
            data
        };
        bob.call("message.react", with("emoji", "👍")).await;
        let edited = ann.call("message.edit", with("body", "hello")).await;
        let first = said["offset"].as_u64().unwrap();
        assert_eq!(edited, json!({ "offset": first + 2 }));

        let found = bob.call("message.get", of_it.clone()).await;
        let expected = json!({
            "type": "message", "id": said["id"], "body": "hello", "sender": { "id": "ann" },
            "edited_at": found["edited_at"], "offset": first, "time": found["time"],
            "reactions": [{ "emoji": "👍", "count": 1, "me": true }],
        });
        assert_eq!(found, expected);
        assert!(found["edited_at"].as_u64() >= found["time"].as_u64(), "{found}");
        assert_eq!(ann.call("message.get", of_it.clone()).await["reactions"][0]["me"], false);

        let deleted = ann.call("message.delete", with("reason", "a mistake")).await;
        assert_eq!(ann.call("message.delete", of_it.clone()).await, deleted);
        let found = bob.call("message.get", of_it.clone()).await;
        let expected = json!({
            "type": "message", "id": said["id"], "sender": { "id": "ann" }, "by": "ann",
            "reason": "a mistake", "deleted_at": found["deleted_at"],
            "offset": first, "time": found["time"], "reactions": [],
        });
        assert_eq!(found, expected);
        let mut eve = stage.connect("eve").await;
        let denied = eve.denied("message.get", of_it).await;
        assert_eq!(denied, (103, "not_a_member".to_owned()));
    }

    async fn what_cannot_be_done_is_refused_with_the_reason(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        let other = ann.create("private", &["bob"]).await;
        let id = ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await["id"]
            .clone();
        let ask = |room: &str, id: &Value| {
            json!({ "room": room, "id": id, "body": "ho", "emoji": "👍" })
        };
        let of_it = ask(&room.id, &id);
        let denied = bob.denied("message.edit", of_it.clone()).await;
        assert_eq!(denied, (103, "not_the_author".to_owned()));
        let denied = bob.denied("message.delete", of_it.clone()).await;
        assert_eq!(denied, (103, "role".to_owned()));
        for method in ["get", "edit", "delete", "react", "unreact"] {
            let method = format!("message.{method}");
            let error = ann.call_refused(&method, ask(&other.id, &id)).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(404), &json!("message")));
            let nowhere = Uuid::now_v7().to_string();
            let error = ann.call_refused(&method, ask(&nowhere, &id)).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(404), &json!("room")));
            let error = ann.call_refused(&method, ask(&room.id, &json!("it"))).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("id")));
        }
        for emoji in ["", "ok", "👍👍", "\u{1F1EB}", ":+1:"] {
            let mut data = of_it.clone();
            data["emoji"] = json!(emoji);
            let error = bob.call_refused("message.react", data).await;
            assert_eq!((&error["code"], &error["field"]), (&json!(400), &json!("emoji")));
        }
        ann.call("message.delete", of_it.clone()).await;
        for method in ["message.edit", "message.react", "message.unreact"] {
            let denied = ann.denied(method, of_it.clone()).await;
            assert_eq!(denied, (409, "deleted".to_owned()), "{method}");
        }
        assert_eq!(ann.denied("message.shout", of_it).await, (108, "unknown_method".to_owned()));
    }

    async fn the_eleventh_emoji_of_one_person_is_refused(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let id = ann.publish(&room.channel, json!({ "type": "message", "body": "hi" })).await["id"]
            .clone();
        let ask = |emoji: &str| json!({ "room": room.id, "id": id, "emoji": emoji });
        for emoji in emojis::iter().take(10) {
            ann.call("message.react", ask(emoji.as_str())).await;
        }
        let error = ann.call_refused("message.react", ask("🐙")).await;
        assert_eq!((&error["code"], &error["limit"]), (&json!(106), &json!(10)));
        assert_eq!(error["reason"], "reactions_per_user");
        let first = emojis::iter().next().unwrap().as_str();
        let taken = ann.call("message.unreact", ask(first)).await;
        assert_eq!(taken["count"], 0);
        assert_eq!(ann.call("message.react", ask("🐙")).await["count"], 1);
    }

    async fn the_same_message_again_is_the_first_one(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let idem = Uuid::new_v4();
        let first = ann.publish(&room.channel, with_idem("hi", idem)).await;
        assert!(first["duplicate"] != true, "{first}");
        let again = ann.publish(&room.channel, with_idem("hi", idem)).await;
        assert_eq!((&again["id"], &again["offset"]), (&first["id"], &first["offset"]));
        assert_eq!(again["duplicate"], true);
        // Line breaks are the same however they are written; another text is another message.
        let other = publish(&mut ann, &room.channel, with_idem("ho", idem)).await;
        let error = (&other["error"]["code"], &other["error"]["reason"]);
        assert_eq!(error, (&json!(409), &json!("idem_reused")), "{other}");
        assert_eq!(stage.logs().await.room(&room).await.len(), 2);
        // Deleted, it is still said.
        let of_it = json!({ "room": room.id, "id": first["id"] });
        ann.call("message.delete", of_it).await;
        let again = ann.publish(&room.channel, with_idem("hi", idem)).await;
        assert_eq!((&again["id"], &again["duplicate"]), (&first["id"], &json!(true)));
    }

    async fn the_same_idem_at_once_is_one_message_of_each_person(stage: Stage) {
        let mut ann = stage.connect("ann").await;
        let mut phone = stage.connect("ann").await;
        let mut bob = stage.connect("bob").await;
        let room = ann.create("private", &["bob"]).await;
        let channel = &room.channel;
        for _ in 0..20 {
            let idem = Uuid::new_v4();
            let (desk, phone, bob) = tokio::join!(
                publish(&mut ann, channel, with_idem("hi", idem)),
                publish(&mut phone, channel, with_idem("hi", idem)),
                publish(&mut bob, channel, with_idem("hi", idem)),
            );
            let [desk, phone, bob] = [desk, phone, bob].map(|reply| reply["publish"].clone());
            let is_duplicate = |reply: &Value| reply["duplicate"] == true;
            assert_ne!(is_duplicate(&desk), is_duplicate(&phone), "{desk} {phone}");
            assert_eq!((&desk["id"], &desk["offset"]), (&phone["id"], &phone["offset"]));
            assert!(!is_duplicate(&bob) && bob["id"] != desk["id"], "{bob}");
        }
        let events = stage.logs().await.room(&room).await;
        assert_eq!(events.iter().filter(|event| event["type"] == "message").count(), 40);
    }

    async fn slow_mode_lets_members_speak_one_after_the_other(stage: Stage) {
        let (mut ann, mut bob) = (stage.connect("ann").await, stage.connect("bob").await);
        let room = ann.create("private", &["bob"]).await;
        ann.call("room.update", json!({ "room": room.id, "slow_mode": 600 })).await;
        let message = |body: &str| with_idem(body, Uuid::new_v4());
        // What was refused takes no turn.
        let refused = publish(&mut bob, &room.channel, message(" ")).await;
        assert_eq!(refused["error"]["code"], 400, "{refused}");
        let said = message("hi");
        bob.publish(&room.channel, said.clone()).await;
        let error = publish(&mut bob, &room.channel, message("ho")).await["error"].clone();
        assert_eq!((&error["code"], &error["reason"]), (&json!(423), &json!("slow_mode")));
        let wait = error["retry_after_ms"].as_u64().unwrap();
        assert!((590_000..=600_001).contains(&wait), "{error}");
        // Whose connection broke may ask again for what was accepted.
        assert_eq!(bob.publish(&room.channel, said).await["duplicate"], true);
        // Who keeps order is not slowed.
        ann.publish(&room.channel, message("one")).await;
        ann.publish(&room.channel, message("two")).await;
    }
}
