//! What clients of a running server see of what was removed, erased or restored beside it.

use std::time::Duration;

use chassis::testing::deadline;
use chat_server::store::{Keep, Target};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::harness::rooms::Room;
use crate::harness::vault::Vault;
use crate::harness::{Client, Stage, eventually, on_both_stores};

/// A server on the database of a test.
async fn serve(vault: &Vault) -> Stage {
    // Clients here ask until something is true.
    let rate = ("COMMAND_RATE", "100000");
    match &vault.settings.target {
        Target::Postgres(url) => Stage::with(&[rate, ("DATABASE_URL", url.expose_secret())]).await,
        Target::Sqlite(path) => {
            let folder = path.parent().unwrap().to_str().unwrap();
            Stage::with(&[rate, ("DATA_DIR", folder)]).await
        }
    }
}

async fn say(client: &mut Client, room: &Room, body: &str, idem: Uuid) -> Value {
    client.publish(&room.channel, json!({ "type": "message", "body": body, "idem": idem })).await
}

/// Everything that is kept, as the server pages it.
async fn history(client: &mut Client, room: &Room) -> Vec<Value> {
    let request = json!({ "channel": room.channel, "limit": -1 });
    let reply = client.ask("history", request).await;
    assert!(reply["history"].is_object(), "{reply}");
    reply["history"]["publications"].as_array().cloned().unwrap_or_default()
}

/// Comes back with a position of this offset.
async fn recover(client: &mut Client, room: &Room, offset: u64, epoch: &Value) -> Value {
    let position = json!({ "recover": true, "offset": offset, "epoch": epoch });
    let mut request = json!({ "channel": room.channel });
    request.as_object_mut().unwrap().extend(position.as_object().unwrap().clone());
    let reply = client.ask("subscribe", request).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
    client.ask("unsubscribe", json!({ "channel": room.channel })).await;
    reply["subscribe"].clone()
}

fn first(events: &[Value]) -> Option<u64> {
    events.first().and_then(|event| event["offset"].as_u64())
}

on_both_stores! {
    async fn who_comes_back_to_what_retention_removed_is_told_so(vault: Vault) {
        let stage = serve(&vault).await;
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let epoch = ann.subscribe(&room.channel).await["epoch"].clone();
        let keys = [(); 8].map(|()| Uuid::new_v4());
        for (number, key) in keys.iter().enumerate() {
            say(&mut ann, &room, &format!("number {number}"), *key).await;
        }
        assert_eq!(first(&history(&mut ann, &room).await), Some(1));
        let id = vault.id(room.id().uuid());
        let old = format!("UPDATE messages SET created_at = 1 WHERE room_id = {id} AND off < 6");
        vault.run(old).await;
        let keep = Keep { rooms: Some(Duration::from_secs(3600)), feeds: Duration::MAX };
        let trimmed = vault.store.trim(room.id().log(), &keep).await.unwrap().unwrap();
        assert_eq!((trimmed.removed, trimmed.trimmed), (5, 5));
        assert_eq!(first(&history(&mut ann, &room).await), Some(6));
        let bob = Mutex::new(stage.connect("bob").await);
        let back = async |offset| recover(&mut *bob.lock().await, &room, offset, &epoch).await;
        // Another process did it: this one hears of it when it compares.
        eventually("what is kept in memory goes too", async || {
            back(4).await["recovered"].is_null()
        })
        .await;
        for (offset, recovered) in [(0, false), (4, false), (5, true), (8, true), (9, true)] {
            let found = back(offset).await;
            assert_eq!(found["recovered"] == true, recovered, "{offset}: {found}");
            let publications = found["publications"].as_array().map_or(0, Vec::len) as u64;
            assert_eq!(publications, if recovered { 9 - offset } else { 0 }, "{found}");
        }
        let repeat = say(&mut ann, &room, "number 0", keys[0]).await;
        let wanted = (&json!(2), &json!(true));
        assert_eq!((&repeat["offset"], &repeat["duplicate"]), wanted, "{repeat}");
    }

    async fn who_pages_sees_tombstones_and_the_heir_is_told(vault: Vault) {
        let stage = serve(&vault).await;
        let mut erin = stage.connect("erin").await;
        let room = erin.create("public", &["ann"]).await;
        let mut ann = stage.connect("ann").await;
        let epoch = ann.subscribe(&room.channel).await["epoch"].clone();
        say(&mut erin, &room, "my secret", Uuid::new_v4()).await;
        ann.publication().await;
        assert!(json!(history(&mut ann, &room).await).to_string().contains("my secret"));
        vault.store.erase("erin").await.unwrap();
        let told = json!({
            "type": "member", "user": "ann", "change": "role", "role": "owner", "by": "erased",
        });
        assert_eq!(ann.hears(&room.channel).await, told);
        let events = history(&mut ann, &room).await;
        let text = json!(events).to_string();
        assert!(!text.contains("erin") && !text.contains("my secret"), "{text}");
        let offsets = events.iter().map(|event| event["offset"].as_u64().unwrap());
        assert!(offsets.eq(1..=4));
        assert_eq!(events[2]["data"]["sender"], json!({ "id": "erased" }));
        let bob = Mutex::new(stage.connect("bob").await);
        eventually("what is kept in memory goes too", async || {
            let found = recover(&mut *bob.lock().await, &room, 1, &epoch).await;
            assert_eq!(found["publications"].as_array().map(Vec::len), Some(3), "{found}");
            !found.to_string().contains("my secret")
        })
        .await;
    }

    async fn after_a_restore_nobodys_position_counts(vault: Vault) {
        let stage = serve(&vault).await;
        let mut ann = stage.connect("ann").await;
        let room = ann.create("public", &[]).await;
        let epoch = ann.subscribe(&room.channel).await["epoch"].clone();
        say(&mut ann, &room, "before", Uuid::new_v4()).await;
        vault.store.begin_epoch().await.unwrap();
        assert_eq!(deadline(ann.closed()).await, 3010, "come back and recover");
        let mut ann = stage.connect("ann").await;
        let found = recover(&mut ann, &room, 1, &epoch).await;
        assert!(found["recovered"].is_null() && found["was_recovering"] == true, "{found}");
        assert_ne!(found["epoch"], epoch);
        let found = recover(&mut ann, &room, 1, &found["epoch"]).await;
        assert_eq!(found["recovered"], true, "{found}");
    }
}

#[tokio::test]
async fn a_server_removes_what_is_too_old_by_itself() {
    let stage = Stage::with_config(|config| {
        config.upkeep.keep.rooms = Some(Duration::from_millis(1));
        config.upkeep.interval = Duration::from_millis(100);
        config.limits.command_rate = 100_000;
    })
    .await;
    let mut ann = stage.connect("ann").await;
    let room = ann.create("public", &[]).await;
    let key = Uuid::new_v4();
    assert_eq!(say(&mut ann, &room, "old soon", key).await["offset"], 2);
    let ann = Mutex::new(ann);
    eventually("there is nothing left", async || {
        history(&mut *ann.lock().await, &room).await.is_empty()
    })
    .await;
    let mut ann = ann.into_inner();
    let repeat = say(&mut ann, &room, "old soon", key).await;
    assert_eq!((&repeat["offset"], &repeat["duplicate"]), (&json!(2), &json!(true)), "{repeat}");
    assert_eq!(say(&mut ann, &room, "new", Uuid::new_v4()).await["offset"], 3);
}
