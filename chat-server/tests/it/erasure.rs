//! A person who was erased is nowhere any more, and every log is as whole as before.

pub mod life;
mod scan;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use chat_server::room::{Kind, LogId, Role, RoomId};
use chat_server::store::{Access, Audited, Conflict, Draft, Error, Event, Range, Target};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::vault::{Vault, draft};
use crate::harness::{SECRET, on_both_stores};
use life::{ERIN, Life, NAME, WORDS, create, deed, message, say};
use scan::Scan;

/// Every event of a log.
async fn events_of(vault: &Vault, log: LogId) -> Vec<Event> {
    vault.store.page(log, Range::After(0), 10_000).await.unwrap()
}

/// What an event says now.
async fn stands(vault: &Vault, room: RoomId, offset: u64) -> Value {
    let events = vault.store.page(room.log(), Range::After(offset - 1), 1).await.unwrap();
    serde_json::from_slice(events[0].data.as_bytes()).unwrap()
}

async fn erase(vault: &Vault) -> chat_server::store::Erased {
    vault.store.erase(ERIN).await.unwrap().value
}

/// The program on the data of a test.
fn program(vault: &Vault, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.args(arguments).env_clear().env("JWT_SECRET", SECRET).env("RUST_LOG", "warn");
    match &vault.settings.target {
        Target::Postgres(url) => command.env("DATABASE_URL", url.expose_secret()),
        Target::Sqlite(path) => command.env("DATA_DIR", path.parent().unwrap_or(Path::new("."))),
    };
    command.output().unwrap()
}

on_both_stores! {
    async fn nothing_of_an_erased_person_is_in_any_column(vault: Vault) {
        let life = Life::lived(&vault).await;
        let before = Scan::of(&vault).await;
        let everywhere = [
            "audit.actor", "audit.detail", "audit.subject", "members.user_id", "messages.payload",
            "messages.sender", "messages.subject", "reactions.user_id", "read_marks.user_id",
            "rooms.created_by",
        ];
        assert_eq!(before.find(ERIN), everywhere, "there is something to erase");
        assert_eq!(before.find(NAME), ["messages.payload"]);
        assert_eq!(before.find("quince"), ["audit.detail", "messages.payload"]);
        let erased = erase(&vault).await;
        let after = Scan::of(&vault).await;
        // What Ann wrote about her is Ann's.
        assert_eq!(after.find(ERIN), Vec::<&str>::new());
        assert_eq!(after.find("ask @erin"), ["messages.payload"]);
        for gone in [NAME, "Unverwechselbar", "quince", "jelly", &format!("{ERIN} says so")] {
            assert_eq!(after.find(gone), Vec::<&str>::new(), "{gone}");
        }
        assert_eq!(erased.inherited, 1);
        let revised: Vec<_> = erased.revised.iter().map(|(log, _)| *log).collect();
        for room in [life.own, life.left, life.banned, life.direct] {
            assert!(revised.contains(&room.log()));
        }
        for (log, revision) in erased.revised {
            assert_eq!(vault.store.head(log).await.unwrap().revision, revision);
        }
    }

    async fn every_log_stays_whole_and_others_keep_what_they_said(vault: Vault) {
        let life = Life::lived(&vault).await;
        let rooms = [life.own, life.left, life.banned, life.direct].map(RoomId::log);
        let others = ["ann", "bob", "mallory"].map(LogId::of_feed);
        let logs = [rooms.as_slice(), others.as_slice()].concat();
        let mut before = Vec::new();
        for log in &logs {
            before.push((vault.offsets(*log).await, events_of(&vault, *log).await));
        }
        erase(&vault).await;
        let (mut inherited, mut kept) = (Vec::new(), 0);
        for (log, (offsets, events)) in logs.iter().zip(before) {
            let mut now = vault.offsets(*log).await;
            // An heir is told, in the room and in their feed.
            inherited.extend(now.split_off(offsets.len()));
            assert_eq!(now, offsets);
            let mentions_her = |event: &&Event| {
                let text = String::from_utf8_lossy(event.data.as_bytes()).into_owned();
                !text.contains(ERIN)
            };
            let now = events_of(&vault, *log).await;
            for event in events.iter().filter(mentions_her) {
                assert!(now.contains(event), "{event:?} is another's");
                kept += 1;
            }
        }
        assert_eq!(inherited.len(), 2);
        assert!(kept >= 4, "{kept}");
        let direct = events_of(&vault, life.direct.log()).await;
        let words = direct.iter().map(|event| String::from_utf8_lossy(event.data.as_bytes()));
        assert!(words.collect::<String>().contains("only between us"));
    }

    async fn what_they_said_is_a_tombstone_with_a_placeholder(vault: Vault) {
        let life = Life::lived(&vault).await;
        erase(&vault).await;
        for said in [life.said, life.edited, life.deleted] {
            let tombstone = stands(&vault, life.own, said.offset).await;
            let deleted_at = &tombstone["deleted_at"];
            assert!(deleted_at.is_u64(), "{tombstone}");
            let wanted = json!({
                "type": "message", "id": said.id, "sender": { "id": "erased" },
                "deleted_at": deleted_at, "by": "erased",
            });
            assert_eq!(tombstone, wanted);
            let found = vault.store.message(life.own, said.id, "ann").await.unwrap();
            assert_eq!(found.reactions, []);
        }
        let by_ann = stands(&vault, life.left, life.deleted_by_ann.offset).await;
        assert_eq!((&by_ann["by"], &by_ann["reason"]), (&json!("ann"), &json!("too sweet")));
        let by_her = stands(&vault, life.own, life.deleted_by_her.offset).await;
        assert_eq!((&by_her["sender"]["id"], &by_her["by"]), (&json!("bob"), &json!("erased")));
        assert_eq!(by_her["reason"], Value::Null);
        let of_ann = vault.store.message(life.own, life.of_ann.id, "ann").await.unwrap();
        assert_eq!(of_ann.reactions, [], "only hers was there");
    }

    async fn a_repeat_of_what_they_sent_is_still_the_same_message(vault: Vault) {
        let life = Life::lived(&vault).await;
        erase(&vault).await;
        // Somebody may be called so again, and comes with an old key.
        vault.store.join(deed(life.own, ERIN, ERIN)).await.unwrap();
        let repeat = say(&vault.store, message(life.own, ERIN, WORDS, Some(life.idem))).await;
        let found = (repeat.offset, repeat.id, repeat.duplicate);
        assert_eq!(found, (life.said.offset, life.said.id, true));
        let other = message(life.own, "bob", WORDS, Some(life.idem));
        vault.run(format!(
            "UPDATE members SET muted_until = 0 WHERE room_id = {} AND user_id = 'bob'",
            vault.id(life.own.uuid()),
        )).await;
        assert!(!say(&vault.store, other).await.duplicate, "it was hers, not bob's");
    }

    async fn a_room_goes_to_the_highest_role_and_longest_standing(vault: Vault) {
        let store = &vault.store;
        let owner_of = async |room: RoomId| {
            let members = store.members(room, "", 100).await.unwrap();
            let owners = members.into_iter().filter(|member| member.role == Role::Owner);
            owners.map(|owner| owner.user).collect::<Vec<_>>()
        };
        let ranked = create(store, ERIN, &[]).await;
        let equal = create(store, ERIN, &[]).await;
        for (number, user) in ["zoe", "abe", "mod"].into_iter().enumerate() {
            for room in [ranked, equal] {
                store.join(deed(room, user, user)).await.unwrap();
                let (room, joined) = (vault.id(room.uuid()), 1000 + number);
                vault.run(format!(
                    "UPDATE members SET joined_at = {joined} \
                     WHERE room_id = {room} AND user_id = '{user}'"
                )).await;
            }
        }
        store.set_role(deed(ranked, ERIN, "mod"), Role::Moderator).await.unwrap();
        let shared = create(store, ERIN, &["ann", "bob"]).await;
        store.set_role(deed(shared, ERIN, "bob"), Role::Owner).await.unwrap();
        let alone = create(store, ERIN, &[]).await;
        let change = store.erase(ERIN).await.unwrap();
        assert_eq!(owner_of(ranked).await, ["mod"]);
        assert_eq!(owner_of(equal).await, ["zoe"]);
        assert_eq!(owner_of(shared).await, ["bob"]);
        assert_eq!(owner_of(alone).await, Vec::<String>::new());
        assert_eq!(change.value.inherited, 2);
        let published: Vec<_> =
            change.published.iter().map(|published| published.channel.to_string()).collect();
        let mut wanted = Vec::new();
        for (room, heir) in [(ranked, "user:mod"), (equal, "user:zoe")] {
            wanted.push(room.channel().to_string());
            wanted.push(heir.to_owned());
        }
        assert_eq!(published, wanted);
        let told = events_of(&vault, ranked.log()).await.pop().unwrap();
        let told: Value = serde_json::from_slice(told.data.as_bytes()).unwrap();
        let event = json!({
            "type": "member", "user": "mod", "change": "role", "role": "owner", "by": "erased",
        });
        assert_eq!(told, event);
        let audited = store.audited(ranked, None, 100).await.unwrap().pop().unwrap();
        let Audited { actor, action, subject, .. } = &audited;
        assert_eq!([actor, action, subject], ["erased", "member.role", "mod"]);
        let detail = String::from_utf8(audited.detail.as_bytes().to_vec()).unwrap();
        assert!(detail.contains("the last owner was erased"), "{detail}");
        // Members are still counted right.
        for (room, count) in [(ranked, 3), (shared, 2), (alone, 0)] {
            let id = vault.id(room.uuid());
            let sql = format!("SELECT member_count FROM rooms WHERE id = {id}");
            assert_eq!(vault.numbers(sql).await, [count]);
        }
    }

    async fn their_feed_is_emptied_and_goes_on_where_it_was(vault: Vault) {
        Life::lived(&vault).await;
        let feed = LogId::of_feed(ERIN);
        let head = vault.store.head(feed).await.unwrap();
        assert!(head.offset > 3 && head.trimmed == 0);
        erase(&vault).await;
        let after = vault.store.head(feed).await.unwrap();
        assert_eq!((after.offset, after.trimmed), (head.offset, head.offset));
        assert_eq!(vault.offsets(feed).await, Vec::<i64>::new());
        let room = vault.room(Kind::Public).await;
        let access = Access::Server;
        let news = Draft { log: feed, channel: "user:x".into(), access, ..draft(room, "", None) };
        assert_eq!(say(&vault.store, news).await.offset, head.offset + 1);
    }

    async fn an_interrupted_erasure_is_finished_by_another_one(vault: Vault) {
        let life = Life::lived(&vault).await;
        for _ in 0..8 {
            let words = |_| message(life.own, ERIN, WORDS, Some(Uuid::new_v4()));
            let drafts: Vec<_> = (0..100).map(words).collect();
            vault.store.append(&drafts).await.unwrap();
        }
        let keys = "SELECT count(*) FROM messages WHERE idem IS NOT NULL";
        let keys = vault.numbers(keys).await[0];
        let (mut interrupted, mut patience) = (0, Duration::from_millis(5));
        while timeout(patience, vault.store.erase(ERIN)).await.is_err() {
            interrupted += 1;
            patience += Duration::from_millis(5);
        }
        assert!(interrupted > 1, "it was never interrupted");
        let after = Scan::of(&vault).await;
        for gone in [ERIN, NAME, "quince"] {
            assert_eq!(after.find(gone), Vec::<&str>::new(), "{gone}");
        }
        let offsets = vault.offsets(life.own.log()).await;
        assert_eq!(offsets, (1..=i64::try_from(offsets.len()).unwrap()).collect::<Vec<_>>());
        let kept = "SELECT (SELECT count(*) FROM messages WHERE idem IS NOT NULL) \
            + (SELECT count(*) FROM publish_keys)";
        assert_eq!(vault.numbers(kept).await[0], keys, "every key is somewhere, once");
    }

    async fn erasing_again_or_nobody_changes_nothing(vault: Vault) {
        Life::lived(&vault).await;
        let untouched = Scan::of(&vault).await;
        assert_eq!(vault.store.erase("nobody at all").await.unwrap().value.revised, []);
        assert_eq!(Scan::of(&vault).await, untouched);
        erase(&vault).await;
        let erased = Scan::of(&vault).await;
        assert_eq!(vault.store.traces(ERIN).await.unwrap().len(), 0);
        assert_eq!(erase(&vault).await.events, 0);
        assert_eq!(Scan::of(&vault).await, erased);
        let refused = vault.store.erase("erased").await;
        assert!(matches!(refused, Err(Error::Conflict(Conflict::Placeholder))));
    }

    async fn the_command_says_what_there_is_and_erases_only_when_told_to(vault: Vault) {
        let life = Life::lived(&vault).await;
        let before = Scan::of(&vault).await;
        let asked = program(&vault, &["erase", "--user", ERIN]);
        let complaint = String::from_utf8(asked.stderr).unwrap();
        assert_eq!((asked.status.code(), asked.stdout.len()), (Some(1), 0), "{complaint}");
        assert!(complaint.contains(&life.own.to_string()) && complaint.contains("--yes"));
        assert_eq!(Scan::of(&vault).await, before);
        let done = program(&vault, &["erase", "--user", ERIN, "--yes"]);
        let complaint = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.success(), "{complaint}");
        let report = String::from_utf8(done.stdout).unwrap();
        assert!(report.ends_with("1 rooms with another owner\n"), "{report}");
        assert_eq!(Scan::of(&vault).await.find(ERIN), Vec::<&str>::new());
        let refused = program(&vault, &["erase", "--user", "erased", "--yes"]);
        assert_eq!(refused.status.code(), Some(1));
    }
}
