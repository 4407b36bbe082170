//! Old events go, oldest first and in batches, and what is left is whole.

use std::sync::Arc;
use std::time::Duration;

use chassis::testing::deadline;
use chat_server::command::unix_millis;
use chat_server::room::{Kind, LogId, Role, RoomId};
use chat_server::store::{Access, Draft, Head, Keep, Trimmed};
use chat_server::upkeep::{Config, Upkeep};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::harness::on_both_stores;
use crate::harness::vault::{Vault, draft};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Rooms keep ten days, feeds thirty.
const KEEP: Keep =
    Keep { rooms: Some(Duration::from_secs(10 * 24 * 60 * 60)), feeds: DAY.saturating_mul(30) };

/// Writes so many messages and gives the keys they came with.
async fn fill(vault: &Vault, room: RoomId, count: usize) -> Vec<Uuid> {
    let keys: Vec<_> = (0..count).map(|_| Uuid::new_v4()).collect();
    let people = ["ana", "bo", "cy"];
    let numbered = keys.iter().enumerate();
    let drafts = numbered.map(|(number, key)| draft(room, people[number % 3], Some(*key)));
    for part in drafts.collect::<Vec<Draft>>().chunks(500) {
        for outcome in vault.store.append(part).await.unwrap() {
            outcome.unwrap();
        }
    }
    keys
}

/// The events from `first` to `last` are so many days old.
async fn age(vault: &Vault, log: LogId, first: u64, last: u64, days: u64) {
    let (id, time) = (vault.id(log.uuid()), unix_millis() - days * 86_400_000);
    let sql = format!(
        "UPDATE messages SET created_at = {time} \
         WHERE room_id = {id} AND off >= {first} AND off <= {last}"
    );
    vault.run(sql).await;
}

/// Trims until nothing is left to trim, and gives what each batch removed.
async fn trim(vault: &Vault, log: LogId) -> Vec<Trimmed> {
    let mut batches = Vec::new();
    while let Some(trimmed) = vault.store.trim(log, &KEEP).await.unwrap() {
        batches.push(trimmed);
    }
    batches
}

async fn overdue(vault: &Vault) -> Vec<LogId> {
    let mut found = Vec::new();
    let mut next = None;
    loop {
        let page = vault.store.overdue(&KEEP, next).await.unwrap();
        found.extend(page.logs);
        next = page.next;
        if next.is_none() {
            return found;
        }
    }
}

on_both_stores! {
    async fn the_oldest_go_in_batches_and_what_is_left_is_whole(vault: Vault) {
        let room = vault.room_of(&["ana", "bo", "cy"]).await;
        fill(&vault, room, 1203).await;
        age(&vault, room.log(), 1, 1200, 11).await;
        let before = vault.store.head(room.log()).await.unwrap();
        let batches = trim(&vault, room.log()).await;
        let mut gone = 0;
        for batch in &batches {
            gone += batch.removed;
            assert_eq!(batch.trimmed, gone, "from the first one on, without a hole");
            assert!(batch.removed <= 500, "short enough for whoever waits");
        }
        assert!(gone == 1200 && batches.len() > 2);
        assert_eq!(vault.offsets(room.log()).await, [1201, 1202, 1203]);
        let Head { offset, trimmed, revision } = vault.store.head(room.log()).await.unwrap();
        assert_eq!((offset, trimmed), (1203, 1200));
        assert_eq!(revision, batches.last().unwrap().revision);
        assert!(revision > before.revision);
    }

    async fn a_young_event_keeps_everything_behind_it(vault: Vault) {
        let room = vault.room_of(&["ana", "bo", "cy"]).await;
        fill(&vault, room, 9).await;
        age(&vault, room.log(), 1, 3, 11).await;
        // The clock of whoever wrote these had gone back.
        age(&vault, room.log(), 5, 8, 20).await;
        trim(&vault, room.log()).await;
        assert_eq!(vault.offsets(room.log()).await, [4, 5, 6, 7, 8, 9]);
        assert_eq!(overdue(&vault).await, []);
    }

    async fn a_repeat_of_what_is_gone_is_still_the_same_message(vault: Vault) {
        let room = vault.room_of(&["ana", "bo", "cy"]).await;
        let keys = fill(&vault, room, 5).await;
        age(&vault, room.log(), 1, 4, 11).await;
        let id = vault.id(room.uuid());
        let mut drafts = [draft(room, "bo", Some(keys[1])), draft(room, "bo", Some(keys[0]))];
        let before = vault.store.append(&drafts[..1]).await.unwrap()[0].clone().unwrap();
        trim(&vault, room.log()).await;
        let after = vault.store.append(&drafts).await.unwrap();
        let repeat = after[0].as_ref().unwrap();
        assert_eq!((repeat.offset, repeat.id, repeat.duplicate), (2, before.id, true));
        let other = after[1].as_ref().unwrap();
        assert_eq!((other.offset, other.duplicate), (6, false), "it was ana's key, not bo's");
        drafts[0].digest = 2;
        assert!(vault.store.append(&drafts[..1]).await.unwrap()[0].is_err(), "another text");
        let kept = format!("SELECT count(*) FROM publish_keys WHERE room_id = {id}");
        assert_eq!(vault.numbers(kept).await, [4]);
    }

    async fn reactions_to_what_is_gone_go_with_it(vault: Vault) {
        let room = vault.room_of(&["ana", "bo", "cy"]).await;
        fill(&vault, room, 4).await;
        age(&vault, room.log(), 1, 2, 11).await;
        let id = vault.id(room.uuid());
        for target in 1..=4 {
            let row = format!("({id}, {target}, 'ana', '+', 0)");
            let columns = "(room_id, target, user_id, emoji, created_at)";
            vault.run(format!("INSERT INTO reactions {columns} VALUES {row}")).await;
        }
        trim(&vault, room.log()).await;
        let left = format!("SELECT target FROM reactions WHERE room_id = {id} ORDER BY target");
        assert_eq!(vault.numbers(left).await, [3, 4]);
    }

    async fn a_rooms_own_number_of_days_goes_before_everyones(vault: Vault) {
        let mut rooms = Vec::new();
        for own in ["NULL", "172800", "1728000", "0"] {
            let room = vault.room_of(&["ana", "bo", "cy"]).await;
            fill(&vault, room, 3).await;
            for (offset, days) in [(1, 30), (2, 11), (3, 3)] {
                age(&vault, room.log(), offset, offset, days).await;
            }
            let id = vault.id(room.uuid());
            let sql = format!("UPDATE rooms SET retention_seconds = {own} WHERE id = {id}");
            vault.run(sql).await;
            rooms.push(room);
        }
        let mut due = overdue(&vault).await;
        due.sort_unstable();
        let mut wanted: Vec<_> = rooms[..3].iter().map(|room| room.log()).collect();
        wanted.sort_unstable();
        assert_eq!(due, wanted);
        for (room, left) in rooms.iter().zip([vec![3], vec![], vec![2, 3], vec![1, 2, 3]]) {
            trim(&vault, room.log()).await;
            assert_eq!(vault.offsets(room.log()).await, left);
        }
        // What was removed to the last event goes on where it was.
        fill(&vault, rooms[1], 1).await;
        assert_eq!(vault.offsets(rooms[1].log()).await, [4]);
    }

    async fn feeds_keep_thirty_days_whatever_rooms_keep(vault: Vault) {
        let room = vault.room(Kind::Public).await;
        let feed = LogId::of_feed("ana");
        let news = |number: u64| Draft {
            log: feed,
            channel: "user:ana".into(),
            access: Access::Server,
            sender: "".into(),
            ..draft(room, "", Some(Uuid::from_u128(number.into())))
        };
        let drafts: Vec<_> = (0..3).map(news).collect();
        for outcome in vault.store.append(&drafts).await.unwrap() {
            outcome.unwrap();
        }
        age(&vault, feed, 1, 1, 31).await;
        age(&vault, feed, 2, 2, 29).await;
        let for_ever = Keep { rooms: None, ..KEEP };
        assert_eq!(vault.store.overdue(&for_ever, None).await.unwrap().logs, [feed]);
        while vault.store.trim(feed, &for_ever).await.unwrap().is_some() {}
        assert_eq!(vault.offsets(feed).await, [2, 3]);
    }

    async fn what_is_old_is_found_on_whatever_page_of_rooms_it_is(vault: Vault) {
        // More than two pages, in the order in which they are looked at.
        let mut rooms: Vec<_> = (0..1100).map(|_| RoomId::new()).collect();
        rooms.sort_unstable();
        let row = |room: &RoomId| format!("({}, 1, 0)", vault.id(room.uuid()));
        let rows: Vec<_> = rooms.iter().map(row).collect();
        vault.run(format!("INSERT INTO rooms (id, kind, created_at) VALUES {}", rows.join(","))).await;
        let mut wanted = Vec::new();
        for room in [0, 499, 500, 501, 999, 1000, 1099].map(|number| rooms[number]) {
            vault.member(room, "ana", Some(Role::Member)).await;
            fill(&vault, room, 1).await;
            age(&vault, room.log(), 1, 1, 11).await;
            wanted.push(room.log());
        }
        assert_eq!(overdue(&vault).await, wanted);
    }

    async fn publishing_goes_on_while_old_events_are_removed(vault: Vault) {
        let room = vault.room_of(&["ana", "bo", "cy"]).await;
        fill(&vault, room, 5000).await;
        age(&vault, room.log(), 1, 5000, 11).await;
        let (told, mut heard) = mpsc::channel(100);
        let told = Box::new(move |trimmed: Trimmed| told.try_send(trimmed).unwrap());
        let config = Config { keep: KEEP, interval: Duration::from_millis(10) };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let upkeep = Upkeep::new(vault.store.clone(), config, told);
        let running = tasks.spawn(upkeep.run(stop.clone()));
        let (mut said, mut batches) = (0, Vec::new());
        // Nobody waits for more than a batch: between two of them something is said.
        while batches.last().is_none_or(|last: &Trimmed| last.trimmed < 5000) {
            fill(&vault, room, 1).await;
            said += 1;
            while let Ok(trimmed) = heard.try_recv() {
                batches.push(trimmed);
            }
        }
        stop.cancel();
        deadline(running).await.unwrap();
        assert!(batches.len() >= 10 && batches.iter().all(|batch| batch.removed <= 500));
        assert!(said >= batches.len() / 2, "{said} said during {} batches", batches.len());
        let left: Vec<_> = (5001..=5000 + i64::try_from(said).unwrap()).collect();
        assert_eq!(vault.offsets(room.log()).await, left);
    }

    async fn two_nodes_remove_the_same_once(vault: Vault) {
        let room = vault.room_of(&["ana", "bo", "cy"]).await;
        fill(&vault, room, 3001).await;
        age(&vault, room.log(), 1, 3000, 11).await;
        let other = vault.node().await;
        let work = async |store: Arc<chat_server::store::Store>| {
            let mut removed = 0;
            while let Some(trimmed) = store.trim(room.log(), &KEEP).await.unwrap() {
                removed += trimmed.removed;
            }
            removed
        };
        let (one, two) = tokio::join!(work(vault.store.clone()), work(other));
        assert_eq!(one + two, 3000);
        assert_eq!(vault.offsets(room.log()).await, [3001]);
    }
}
