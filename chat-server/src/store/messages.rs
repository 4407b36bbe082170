//! Messages that are there: found, changed, deleted.

use crate::room::{MessageId, RoomId};

use super::sql::args;
use super::{Error, Missing, Store};

impl Store {
    /// Where a message of a room stands, deleted or not.
    ///
    /// # Errors
    /// [`Missing::Message`], also for a message of another room; or when the store cannot be asked.
    pub async fn message_offset(&self, room: RoomId, id: MessageId) -> Result<u64, Error> {
        let sql = "SELECT off FROM messages WHERE id = $1 AND room_id = $2 AND kind = 1";
        let row = self.read_one(sql, args![id.uuid(), room.uuid()]).await?;
        row.ok_or(Error::Missing(Missing::Message))?.unsigned(0)
    }
}
