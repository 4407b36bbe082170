//! Messages into their logs: no hole, no double, whoever writes at the same time.

use chat_server::store::{Appended, Conflict, Error};
use uuid::Uuid;

use crate::harness::on_both_stores;
use crate::harness::vault::{Vault, draft};

on_both_stores! {
    async fn what_is_new_gets_the_next_offsets(vault: Vault) {
        let room = vault.room_of(&["ana", "bo"]).await;
        let (idem, other) = (Some(Uuid::new_v4()), Some(Uuid::new_v4()));
        let first = draft(room, "ana", idem);
        let drafts = [first.clone(), draft(room, "bo", idem), draft(room, "ana", other)];
        let outcomes = vault.store.append(&drafts).await.unwrap();
        let offsets: Vec<u64> = outcomes.iter().map(|it| it.as_ref().unwrap().offset).collect();
        assert_eq!(offsets, [1, 2, 3]);
        assert_eq!(vault.offsets(room.log()).await, [1, 2, 3]);
        assert_eq!(vault.head(room.log()).await, Some(3));

        let again = draft(room, "ana", idem);
        let outcomes = vault.store.append(&[again]).await.unwrap();
        let Appended { offset, id, duplicate, .. } = *outcomes[0].as_ref().unwrap();
        assert_eq!((offset, id, duplicate), (1, first.id, true));
        let mut reused = draft(room, "ana", idem);
        reused.digest = 2;
        let outcomes = vault.store.append(&[reused]).await.unwrap();
        assert!(matches!(outcomes[0], Err(Error::Conflict(Conflict::IdemReused))));
        assert_eq!(vault.offsets(room.log()).await, [1, 2, 3]);
    }
}
