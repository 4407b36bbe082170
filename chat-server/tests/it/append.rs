//! Messages into their logs, a batch at a time: what is written, what is a repeat, what is
//! refused, and that none of it stops a neighbour.

use aws_lc_rs::hmac;
use chat_server::room::{Denied, FOR_EVER, Kind, LogId, MessageId, Role, RoomId};
use chat_server::store::{
    Access, Appended, Conflict, Draft, Error, EventKind, Missing, Outcome, Range,
};
use uuid::Uuid;

use crate::harness::on_both_stores;
use crate::harness::vault::{Vault, draft};

on_both_stores! {
    async fn what_is_new_gets_the_next_offsets(vault: Vault) {
        let room = vault.room_of(&["ana", "bo"]).await;
        let other = vault.room_of(&["ana"]).await;
        let idem = Some(Uuid::new_v4());
        let drafts = [
            draft(room, "ana", idem),
            draft(other, "ana", idem),
            draft(room, "bo", idem),
            draft(room, "bo", None),
            draft(room, "bo", None),
        ];
        let outcomes = vault.store.append(&drafts).await.unwrap();
        assert_eq!(offsets(&outcomes), [1, 1, 2, 3, 4]);
        for (draft, outcome) in drafts.iter().zip(&outcomes) {
            let Appended { id, duplicate, time_ms, .. } = *outcome.as_ref().unwrap();
            assert_eq!((id, duplicate), (draft.id, false));
            assert!(time_ms.abs_diff(unix_millis()) < 60_000, "{time_ms}");
        }
        let outcomes = vault.store.append(&[draft(room, "ana", None)]).await.unwrap();
        assert_eq!(offsets(&outcomes), [5]);
        assert_eq!(vault.offsets(room.log()).await, [1, 2, 3, 4, 5]);
        assert_eq!(vault.head(room.log()).await, Some(5));
        assert_eq!(vault.head(other.log()).await, Some(1));
    }

    async fn a_row_says_what_the_draft_said(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let written = draft(room, "ana", Some(Uuid::new_v4()));
        vault.store.append(std::slice::from_ref(&written)).await.unwrap();
        let page = vault.store.page(room.log(), Range::After(0), 10).await.unwrap();
        assert_eq!(page[0].data, written.data);
        let (id, idem) = (vault.id(written.id.uuid()), vault.id(written.idem.unwrap()));
        let sql = format!(
            "SELECT count(*) FROM messages WHERE id = {id} AND idem = {idem} AND kind = 1 \
             AND sender = 'ana' AND digest = 1 AND target IS NULL AND deleted_at IS NULL"
        );
        assert_eq!(vault.numbers(sql).await, [1]);
    }

    async fn a_repeat_is_the_first_again(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let idem = Some(Uuid::new_v4());
        let first = draft(room, "ana", idem);
        let batch = [draft(room, "ana", None), first.clone(), draft(room, "ana", idem)];
        let outcomes = vault.store.append(&batch).await.unwrap();
        assert_eq!(answers(&outcomes), [(1, batch[0].id, false), (2, first.id, false), (2, first.id, true)]);
        let outcomes = vault.store.append(&[draft(room, "ana", idem)]).await.unwrap();
        assert_eq!(answers(&outcomes), [(2, first.id, true)]);
        assert_eq!(vault.offsets(room.log()).await, [1, 2]);
    }

    async fn a_key_with_another_body_is_a_conflict(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let idem = Some(Uuid::new_v4());
        let other = || Draft { digest: 2, ..draft(room, "ana", idem) };
        let batch = [draft(room, "ana", idem), other(), draft(room, "ana", idem)];
        for duplicate in [false, true] {
            let outcomes = vault.store.append(&batch).await.unwrap();
            assert_eq!(outcomes[0].as_ref().unwrap().duplicate, duplicate);
            assert!(matches!(outcomes[1], Err(Error::Conflict(Conflict::IdemReused))));
            assert!(outcomes[2].as_ref().unwrap().duplicate);
        }
        let outcomes = vault.store.append(&[other(), other()]).await.unwrap();
        for outcome in outcomes {
            assert!(matches!(outcome, Err(Error::Conflict(Conflict::IdemReused))));
        }
        assert_eq!(vault.offsets(room.log()).await, [1]);
    }

    async fn a_key_whose_row_is_gone_is_known(vault: Vault) {
        let room = vault.room_of(&["ana", "bo"]).await;
        let idem = Some(Uuid::new_v4());
        let first = draft(room, "ana", idem);
        let outcomes = vault.store.append(&[draft(room, "bo", None), first.clone()]).await.unwrap();
        let time = outcomes[1].as_ref().unwrap().time_ms;
        forget(&vault, room, "ana", &first).await;
        let again = Draft { digest: 1, ..draft(room, "ana", idem) };
        let other = Draft { digest: 2, ..draft(room, "ana", idem) };
        // Of somebody else it is another key.
        let batch = [again, draft(room, "bo", idem)];
        let outcomes = vault.store.append(&batch).await.unwrap();
        assert_eq!(answers(&outcomes), [(2, first.id, true), (3, batch[1].id, false)]);
        // The time is that of its id: the row's own went with it.
        assert!(outcomes[0].as_ref().unwrap().time_ms.abs_diff(time) < 60_000);
        let outcomes = vault.store.append(&[other]).await.unwrap();
        assert!(matches!(outcomes[0], Err(Error::Conflict(Conflict::IdemReused))));
        assert_eq!(vault.offsets(room.log()).await, [1, 3]);
    }

    async fn who_may_not_write_is_refused_and_takes_no_offset(vault: Vault) {
        let room = vault.room_of(&["ana", "muted", "banned", "was_muted"]).await;
        vault.member(room, "guest", Some(Role::Guest)).await;
        vault.member(room, "gone", None).await;
        let archived = vault.room_of(&["ana"]).await;
        let set = |user: &str, what: &str| {
            let room = vault.id(room.uuid());
            format!("UPDATE members SET {what} WHERE room_id = {room} AND user_id = '{user}'")
        };
        vault.run(set("muted", "muted_until = 9007199254740991")).await;
        vault.run(set("banned", &format!("banned_until = {FOR_EVER}"))).await;
        vault.run(set("was_muted", "muted_until = 1, banned_until = 1")).await;
        let id = vault.id(archived.uuid());
        vault.run(format!("UPDATE rooms SET archived_at = 1 WHERE id = {id}")).await;
        let feed = RoomId::from_uuid(LogId::of_feed("ana").uuid());
        vault.store.append(&[to_feed("ana")]).await.unwrap();

        let cases = [
            (draft(room, "ana", None), "Ok(1)"),
            (draft(room, "muted", None), "Denied(Muted { until: 9007199254740991 })"),
            (draft(room, "banned", None), "Denied(Banned { until: 9223372036854775807 })"),
            (draft(room, "was_muted", None), "Ok(2)"),
            (draft(room, "nobody", None), "Denied(NotAMember)"),
            (draft(room, "gone", None), "Denied(NotAMember)"),
            (draft(room, "guest", None), "Denied(Role { needs: Member })"),
            (draft(archived, "ana", None), "Denied(Archived)"),
            (draft(RoomId::new(), "ana", None), "Missing(Room)"),
            (draft(feed, "ana", None), "Missing(Room)"),
            (draft(room, "ana", None), "Ok(3)"),
        ];
        let (drafts, expected): (Vec<_>, Vec<_>) = cases.into_iter().unzip();
        let outcomes = vault.store.append(&drafts).await.unwrap();
        let told: Vec<String> = outcomes.iter().map(text).collect();
        assert_eq!(told, expected);
        assert_eq!(vault.offsets(room.log()).await, [1, 2, 3]);
        assert_eq!(vault.head(room.log()).await, Some(3));
        assert_eq!(vault.head(archived.log()).await, Some(0));
    }

    async fn a_repeat_is_answered_although_its_sender_is_muted_meanwhile(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let idem = Some(Uuid::new_v4());
        let first = draft(room, "ana", idem);
        vault.store.append(std::slice::from_ref(&first)).await.unwrap();
        let id = vault.id(room.uuid());
        vault.run(format!("UPDATE members SET muted_until = {FOR_EVER} WHERE room_id = {id}")).await;
        let batch = [draft(room, "ana", idem), draft(room, "ana", None)];
        let outcomes = vault.store.append(&batch).await.unwrap();
        assert_eq!(outcomes[0].as_ref().unwrap().id, first.id);
        assert!(matches!(outcomes[1], Err(Error::Denied(Denied::Muted { until: FOR_EVER }))));
    }

    async fn the_server_writes_by_its_own_right(vault: Vault) {
        let room = vault.room(Kind::Private).await;
        let from_server = Draft { access: Access::Server, ..draft(room, "", None) };
        let unknown = Draft { access: Access::Server, ..draft(RoomId::new(), "", None) };
        let outcomes = vault.store.append(&[unknown, from_server]).await.unwrap();
        assert!(matches!(outcomes[0], Err(Error::Missing(Missing::Room))));
        assert_eq!(outcomes[1].as_ref().unwrap().offset, 1);
    }

    async fn a_feed_is_made_when_something_is_written_to_it(vault: Vault) {
        let (ana, bo) = (LogId::of_feed("ana"), LogId::of_feed("bo"));
        assert_eq!(vault.head(ana).await, None);
        let batch = [to_feed("bo"), to_feed("ana"), to_feed("bo")];
        let outcomes = vault.store.append(&batch).await.unwrap();
        assert_eq!(offsets(&outcomes), [1, 1, 2]);
        let outcomes = vault.store.append(&[to_feed("bo")]).await.unwrap();
        assert_eq!(offsets(&outcomes), [3]);
        assert_eq!((vault.head(ana).await, vault.head(bo).await), (Some(1), Some(3)));
        // A channel that is called after somebody else makes no log.
        let wrong = Draft { log: LogId::of_feed("di"), ..to_feed("ed") };
        let outcomes = vault.store.append(&[wrong]).await.unwrap();
        assert!(matches!(outcomes[0], Err(Error::Missing(Missing::Room))));
        assert_eq!(vault.head(LogId::of_feed("di")).await, None);
    }

    async fn a_draft_that_cannot_be_written_fails_alone(vault: Vault) {
        let room = vault.room_of(&["ana"]).await;
        let taken = draft(room, "ana", None);
        vault.store.append(std::slice::from_ref(&taken)).await.unwrap();
        let mut drafts: Vec<Draft> = (0..10).map(|_| draft(room, "ana", None)).collect();
        for place in [3, 7] {
            // The id of a message that is there.
            drafts[place].id = taken.id;
        }
        let outcomes = vault.store.append(&drafts).await.unwrap();
        for (place, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.is_err(), [3, 7].contains(&place), "{place}: {outcome:?}");
        }
        let written: Vec<u64> =
            outcomes.iter().filter_map(|outcome| Some(outcome.as_ref().ok()?.offset)).collect();
        assert_eq!(written, (2..=9).collect::<Vec<_>>());
        assert_eq!(vault.offsets(room.log()).await, (1..=9).collect::<Vec<_>>());
    }

    async fn a_repeat_with_another_right_is_judged_by_it(vault: Vault) {
        let room = vault.room_of(&[]).await;
        let idem = Some(Uuid::new_v4());
        let refused = draft(room, "ana", idem);
        let written = Draft { access: Access::Server, ..draft(room, "ana", idem) };
        let batch = [refused, written.clone(), written];
        let outcomes = vault.store.append(&batch).await.unwrap();
        let told: Vec<String> = outcomes.iter().map(text).collect();
        assert_eq!(told, ["Denied(NotAMember)", "Ok(1)", "Ok(1) again"]);
    }

    async fn nothing_to_append_is_nothing_done(vault: Vault) {
        assert!(vault.store.append(&[]).await.unwrap().is_empty());
    }
}

/// A message of the server into somebody's feed.
fn to_feed(user: &str) -> Draft {
    Draft {
        log: LogId::of_feed(user),
        channel: format!("user:{user}").into(),
        kind: EventKind::Read,
        access: Access::Server,
        ..draft(RoomId::new(), "", None)
    }
}

/// What retention does with a row that had a key.
async fn forget(vault: &Vault, room: RoomId, sender: &str, draft: &Draft) {
    let secret = vault.blob("SELECT value FROM meta WHERE key = 'secret'").await;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let hash = vault.bytes(hmac::sign(&key, sender.as_bytes()).as_ref());
    let (room, id) = (vault.id(room.uuid()), vault.id(draft.id.uuid()));
    let moved = format!(
        "INSERT INTO publish_keys (room_id, sender_hash, idem, off, id, digest) \
         SELECT {room}, {hash}, idem, off, id, digest FROM messages WHERE id = {id}"
    );
    assert_eq!(vault.run(moved).await, 1);
    vault.run(format!("DELETE FROM messages WHERE id = {id}")).await;
}

fn offsets(outcomes: &[Outcome]) -> Vec<u64> {
    outcomes.iter().map(|outcome| outcome.as_ref().unwrap().offset).collect()
}

fn answers(outcomes: &[Outcome]) -> Vec<(u64, MessageId, bool)> {
    let answer = |outcome: &Outcome| {
        let Appended { offset, id, duplicate, .. } = *outcome.as_ref().unwrap();
        (offset, id, duplicate)
    };
    outcomes.iter().map(answer).collect()
}

fn text(outcome: &Outcome) -> String {
    match outcome {
        Ok(Appended { offset, duplicate: false, .. }) => format!("Ok({offset})"),
        Ok(Appended { offset, duplicate: true, .. }) => format!("Ok({offset}) again"),
        Err(error) => format!("{error:?}"),
    }
}

fn unix_millis() -> i64 {
    chat_server::command::unix_millis().cast_signed()
}
