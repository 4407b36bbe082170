//! Reading a log: pages in both directions, where it stands, and that no row is read in vain.

use chat_server::protocol::Json;
use chat_server::room::{Kind, LogId, RoomId};
use chat_server::store::{Draft, Event, Head, Query, Range};

use crate::harness::on_both_stores;
use crate::harness::vault::{Vault, draft};

on_both_stores! {
    async fn pages_are_read_both_ways_from_anywhere(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let drafts: Vec<Draft> = (0..10).map(|_| draft(room, "ana", None)).collect();
        vault.store.append(&drafts).await.unwrap();
        // Retention took the first two.
        let id = vault.id(room.uuid());
        vault.run(format!("DELETE FROM messages WHERE room_id = {id} AND off < 3")).await;
        let page = async |range, limit| {
            let events = vault.store.page(room.log(), range, limit).await.unwrap();
            offsets(&events)
        };
        assert_eq!(page(Range::After(0), 3).await, [3, 4, 5]);
        assert_eq!(page(Range::After(8), 9).await, [9, 10]);
        assert_eq!(page(Range::After(10), 9).await, [0; 0]);
        assert_eq!(page(Range::After(u64::MAX), 9).await, [0; 0]);
        assert_eq!(page(Range::Before(u64::MAX), 2).await, [10, 9]);
        assert_eq!(page(Range::Before(5), 9).await, [4, 3]);
        assert_eq!(page(Range::Before(3), 9).await, [0; 0]);
        assert_eq!(page(Range::Before(0), 9).await, [0; 0]);
        assert_eq!(page(Range::After(0), 0).await, [0; 0]);
    }

    async fn an_event_is_read_as_it_was_written(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let text = r#"{ "type":"message", "body":"\u0000 \" ü 🦀", "n":1.50 }"#;
        let data = Json::parse(text.as_bytes()).unwrap();
        let odd = Draft { data: data.clone(), ..draft(room, "ana", None) };
        let outcomes = vault.store.append(&[odd]).await.unwrap();
        let time_ms = outcomes[0].as_ref().unwrap().time_ms;
        let page = vault.store.page(room.log(), Range::After(0), 9).await.unwrap();
        assert_eq!(page, [Event { offset: 1, time_ms, data }]);
    }

    async fn a_page_ends_at_its_bytes(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let sized = |bytes: usize| Draft {
            data: Json::from_value(&"x".repeat(bytes - 2)).unwrap(),
            ..draft(room, "ana", None)
        };
        const KIB: usize = 1024;
        // 512 KiB to the byte, then one too many; one that is alone too large.
        let drafts = [sized(300 * KIB), sized(212 * KIB), sized(2), sized(600 * KIB), sized(2)];
        vault.store.append(&drafts).await.unwrap();
        let page = async |range| offsets(&vault.store.page(room.log(), range, 9).await.unwrap());
        assert_eq!(page(Range::After(0)).await, [1, 2]);
        assert_eq!(page(Range::After(2)).await, [3]);
        assert_eq!(page(Range::After(3)).await, [4]);
        assert_eq!(page(Range::After(4)).await, [5]);
        assert_eq!(page(Range::Before(6)).await, [5]);
        assert_eq!(page(Range::Before(5)).await, [4]);
        assert_eq!(page(Range::Before(4)).await, [3, 2]);
        // The store goes on as before: a page that was not read to its end holds nothing up.
        for _ in 0..20 {
            assert_eq!(page(Range::After(0)).await, [1, 2]);
        }
    }

    async fn heads_are_told_in_the_order_asked(vault: Vault) {
        let mut rooms = Vec::new();
        for count in 0..4 {
            let room = vault.room_of(&["ana"]).await;
            let drafts: Vec<Draft> = (0..count).map(|_| draft(room, "ana", None)).collect();
            vault.store.append(&drafts).await.unwrap();
            rooms.push(room.log());
        }
        let id = vault.id(rooms[3].uuid());
        vault.run(format!("UPDATE rooms SET trimmed = 2, revision = 7 WHERE id = {id}")).await;
        let unknown = RoomId::new().log();
        let logs = [rooms[3], unknown, rooms[0], rooms[2], rooms[3]];
        let head = |offset| Head { offset, ..Head::default() };
        let trimmed = Head { offset: 3, trimmed: 2, revision: 7 };
        let expected = [trimmed, head(0), head(0), head(2), trimmed];
        assert_eq!(vault.store.heads(Query::Head, &logs).await.unwrap(), expected);
        assert_eq!(vault.store.heads(Query::Head, &[]).await.unwrap(), []);
        assert_eq!(vault.store.head(rooms[3]).await.unwrap(), trimmed);
        assert_eq!(vault.store.head(unknown).await.unwrap(), head(0));
    }

    async fn more_heads_than_one_query_takes_are_told(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        vault.store.append(&[draft(room, "ana", None)]).await.unwrap();
        let mut logs: Vec<LogId> = (0..2500).map(|_| RoomId::new().log()).collect();
        logs.push(room.log());
        let heads = vault.store.heads(Query::Head, &logs).await.unwrap();
        assert_eq!(heads.iter().filter(|head| head.offset == 1).count(), 1);
        assert_eq!(heads.last().unwrap().offset, 1);
    }

    async fn every_row_is_found_by_an_index(vault: Vault) {
        let rooms = [vault.room_of(&["ana"]).await, vault.room_of(&["ana"]).await];
        for _ in 0..40 {
            for room in rooms {
                let drafts: Vec<Draft> = (0..125).map(|_| draft(room, "ana", None)).collect();
                vault.store.append(&drafts).await.unwrap();
            }
        }
        let (name, kind) = (vault.id_of("n"), Kind::Public.number());
        vault
            .run(format!(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000) \
                 INSERT INTO rooms (id, kind, created_at) SELECT {name}, {kind}, 0 FROM n"
            ))
            .await;
        vault.run("ANALYZE").await;
        let plans = vault.store.plans(rooms[0].log()).await.unwrap();
        assert!(plans.len() >= 3, "{plans:?}");
        for plan in plans {
            let uses_index = |step: &String| step.contains("Index") || step.contains("INDEX");
            assert!(plan.steps.iter().any(uses_index), "{plan:#?}");
            assert_eq!(plan.full_scans().collect::<Vec<_>>(), [""; 0], "{plan:#?}");
        }
    }

    async fn the_epoch_is_that_of_the_database(vault: Vault) {
        let epoch = vault.store.epoch().await.unwrap();
        assert_eq!(epoch.len(), 8);
        assert_eq!(vault.node().await.epoch().await.unwrap(), epoch);
        let new = vault.bytes(b"restored");
        vault.run(format!("UPDATE meta SET value = {new} WHERE key = 'epoch'")).await;
        assert_eq!(vault.store.epoch().await.unwrap(), "restored");
    }
}

fn offsets(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.offset).collect()
}
