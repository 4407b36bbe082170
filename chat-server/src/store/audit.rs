//! Who did what with more rights than everyone has: one row in the transaction of the act.

use uuid::Uuid;

use crate::protocol::Json;
use crate::room::RoomId;

use super::sql::{Row, Tx, args};
use super::{Error, Store};

/// An act that is to be kept.
#[derive(Debug)]
pub(super) struct Act<'a> {
    pub(super) room: RoomId,
    /// Who did it.
    pub(super) actor: &'a str,
    /// The method, such as `member.ban`.
    pub(super) action: &'static str,
    /// The person or message concerned; empty is the room itself.
    pub(super) subject: &'a str,
    pub(super) detail: Json,
}

/// An act that was kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Audited {
    /// Its id, in the order of time.
    pub id: Uuid,
    /// Who did it.
    pub actor: String,
    /// The method, such as `member.ban`.
    pub action: String,
    /// The person or message concerned; empty is the room itself.
    pub subject: String,
    /// What else there is to say, an object.
    pub detail: Json,
    /// When, in Unix milliseconds.
    pub time_ms: u64,
}

impl Store {
    /// At most `limit` acts in a room behind one of them, or from the first one, oldest first.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub async fn audited(
        &self,
        room: RoomId,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<Audited>, Error> {
        let sql = "SELECT id, actor, action, subject, detail, created_at FROM audit \
            WHERE room_id = $1 AND id > $2 ORDER BY id LIMIT $3";
        let after = after.unwrap_or(Uuid::nil());
        let rows = self.read(sql, args![room.uuid(), after, limit as u64]).await?;
        let act = |row: &Row| {
            let detail: Vec<u8> = row.get(4)?;
            let detail = Json::parse(&detail).map_err(|error| Error::Broken(error.to_string()))?;
            Ok(Audited {
                id: row.get(0)?,
                actor: row.get(1)?,
                action: row.get(2)?,
                subject: row.get(3)?,
                detail,
                time_ms: row.unsigned(5)?,
            })
        };
        rows.iter().map(act).collect()
    }
}

impl Tx {
    /// Keeps an act.
    pub(super) async fn audit(&mut self, act: Act<'_>, now: u64) -> Result<(), Error> {
        let sql = "INSERT INTO audit (id, room_id, actor, action, subject, detail, created_at) \
            VALUES ($1, $2, $3, $4, $5, $6, $7)";
        let Act { room, actor, action, subject, detail } = act;
        let (id, detail) = (Uuid::now_v7(), detail.as_bytes());
        let args = args![id, room.uuid(), actor, action, subject, detail, now];
        self.execute(sql, args).await?;
        Ok(())
    }
}
