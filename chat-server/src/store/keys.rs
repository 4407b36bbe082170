//! The idempotency keys of rows that are no more: a repeat of what retention or erasure removed
//! still gets the offset and id of the first.
//!
//! A key outlives the name of its sender: what is kept is a hash under a secret of the database,
//! so the table tells nobody who wrote, and asking it takes the sender's name.
//!
//! Not here: asking, which is a part of appending.

use aws_lc_rs::hmac;

use uuid::Uuid;

use super::sql::{Row, Tx, args};
use super::{Appended, Error, Store};
use crate::room::{LogId, MessageId, RoomId};

impl Store {
    /// What this database has and no other; a secret.
    pub(crate) fn identity(&self) -> &[u8] {
        &self.secret
    }

    /// The sender as `publish_keys` has them: HMAC-SHA256 under the secret of the database.
    pub(super) fn sender_hash(&self, sender: &str) -> Vec<u8> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        hmac::sign(&key, sender.as_bytes()).as_ref().to_vec()
    }

    /// Where a person's message with this key is, or was before it was removed.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn said_before(
        &self,
        room: RoomId,
        sender: &str,
        idem: Uuid,
    ) -> Result<Option<Appended>, Error> {
        let sql = "SELECT off, id, created_at FROM messages \
            WHERE room_id = $1 AND sender = $2 AND idem = $3";
        let row = match self.read_one(sql, args![room.uuid(), sender, idem]).await? {
            Some(row) => Some(row),
            None => {
                let sql = "SELECT off, id, CAST(0 AS bigint) FROM publish_keys \
                    WHERE room_id = $1 AND sender_hash = $2 AND idem = $3";
                self.read_one(sql, args![room.uuid(), self.sender_hash(sender), idem]).await?
            }
        };
        let appended = |row: Row| {
            let (offset, id) = (row.unsigned(0)?, MessageId::from_uuid(row.get(1)?));
            Ok(Appended { offset, id, time_ms: row.get(2)?, duplicate: true })
        };
        row.map(appended).transpose()
    }
}

impl Tx {
    /// Keeps the keys of a sender's rows from `first` to `last`, both included; before the rows
    /// lose them. The log is locked.
    pub(super) async fn keep_keys(
        &mut self,
        log: LogId,
        (first, last): (u64, u64),
        sender: &str,
        sender_hash: Vec<u8>,
    ) -> Result<(), Error> {
        // The first answer stands for ever, so a key that is there already is left alone. The
        // concatenation keeps planners from the index that begins with room and sender: it leads
        // to everything a person ever wrote there, where the primary key leads to one batch.
        let sql = "INSERT INTO publish_keys (room_id, sender_hash, idem, off, id, digest) \
            SELECT room_id, $1, idem, off, id, digest FROM messages \
            WHERE room_id = $2 AND off >= $3 AND off <= $4 AND sender || '' = $5 \
            AND idem IS NOT NULL \
            ON CONFLICT (room_id, sender_hash, idem) DO NOTHING";
        self.execute(sql, args![sender_hash, log.uuid(), first, last, sender]).await?;
        Ok(())
    }
}
