//! Changes of a room itself: what it is called, who may come in, how it is written to.

use std::sync::Arc;

use crate::room::happening::RoomEvent;
use crate::room::{Act, Kind, RoomId, RoomName, Topic};

use super::log::Entry;
use super::members::unwritable;
use super::sql::{Tx, args};
use super::{Change, Error, EventKind, Store, View, audit};

/// What somebody wants a room to be; `None` = as it is.
#[derive(Debug, Clone, Default)]
pub struct RoomUpdate {
    /// What it is called.
    pub name: Option<RoomName>,
    /// What it is about.
    pub topic: Option<Topic>,
    /// Public or private.
    pub kind: Option<Kind>,
    /// Seconds between two messages of a member; 0 is off.
    pub slow_mode_seconds: Option<u32>,
    /// How long events are kept, in seconds; an inner `None` = as long as the server keeps any.
    pub retention_seconds: Option<Option<u64>>,
}

/// What became of a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Altered {
    /// The offset of the event; where the log stands when nothing changed.
    pub offset: u64,
}

/// Which right it takes, and its method.
type Under = (Act, &'static str);

impl Store {
    /// Changes what a room is; what is so already is left alone.
    ///
    /// # Errors
    /// Not allowed to, archived; or when the store cannot be written.
    pub async fn update_room(
        &self,
        room: RoomId,
        by: Arc<str>,
        update: RoomUpdate,
    ) -> Result<Change<Altered>, Error> {
        let under = (Act::Update, "room.update");
        self.alter(room, &by, under, |view| update.against(view)).await
    }

    /// Closes a room for writing, or opens it again.
    ///
    /// # Errors
    /// Not allowed to; or when the store cannot be written.
    pub async fn archive_room(
        &self,
        room: RoomId,
        by: Arc<str>,
        archived: bool,
    ) -> Result<Change<Altered>, Error> {
        let under = (Act::Archive, "room.archive");
        let wanted = |view: &View| RoomEvent {
            archived: Some(archived).filter(|archived| *archived != view.standing.room.archived),
            ..RoomEvent::default()
        };
        self.alter(room, &by, under, wanted).await
    }

    async fn alter(
        &self,
        room: RoomId,
        by: &str,
        (act, action): Under,
        wanted: impl FnOnce(&View) -> RoomEvent,
    ) -> Result<Change<Altered>, Error> {
        let mut tx = self.begin().await?;
        let log = room.log();
        let now = tx.lock(&[log]).await?;
        let view = tx.view(room, by).await?;
        view.standing.room.authorize(&view.standing.membership, act, now)?;
        let event = wanted(&view);
        if event.is_empty() {
            return Ok(Change::nothing(Altered { offset: view.head }));
        }
        tx.write(&view, &event, now).await?;
        let data = event.json().map_err(unwritable)?;
        let (channel, kind, detail) = (room.channel(), EventKind::Room, data.clone());
        let entry = Entry { log, channel, kind, sender: by, target: None, subject: None, data };
        let published = tx.record(entry, now).await?;
        tx.audit(audit::Act { room, actor: by, action, subject: "", detail }, now).await?;
        tx.commit().await?;
        let value = Altered { offset: published.event.offset };
        Ok(Change { value, published: vec![published] })
    }
}

impl RoomUpdate {
    /// What of it is not so already.
    fn against(self, view: &View) -> RoomEvent {
        let room = &view.standing.room;
        RoomEvent {
            name: self.name.filter(|name| name.as_str() != view.name),
            topic: self.topic.filter(|topic| topic.as_str() != view.topic),
            kind: self.kind.filter(|kind| *kind != room.kind),
            slow_mode_seconds: self
                .slow_mode_seconds
                .filter(|seconds| *seconds != room.slow_mode_seconds),
            retention_seconds: self
                .retention_seconds
                .filter(|seconds| *seconds != view.retention_seconds),
            archived: None,
        }
    }
}

impl Tx {
    /// Writes the row of a room with what changed in it.
    async fn write(&mut self, view: &View, event: &RoomEvent, now: u64) -> Result<(), Error> {
        let room = &view.standing.room;
        let sql = "UPDATE rooms SET name = $2, topic = $3, kind = $4, slow_mode_seconds = $5, \
            retention_seconds = $6 WHERE id = $1";
        let name = event.name.as_ref().map_or(&*view.name, RoomName::as_str);
        let topic = event.topic.as_ref().map_or(&*view.topic, Topic::as_str);
        let kind = event.kind.unwrap_or(room.kind).number();
        let slow_mode = i64::from(event.slow_mode_seconds.unwrap_or(room.slow_mode_seconds));
        let retention = event.retention_seconds.unwrap_or(view.retention_seconds);
        let retention = retention.map(u64::cast_signed);
        let id = room.id.uuid();
        self.execute(sql, args![id, name, topic, kind, slow_mode, retention]).await?;
        if let Some(archived) = event.archived {
            let sql = "UPDATE rooms SET archived_at = $2 WHERE id = $1";
            let archived_at = archived.then_some(now.cast_signed());
            self.execute(sql, args![id, archived_at]).await?;
        }
        Ok(())
    }
}
