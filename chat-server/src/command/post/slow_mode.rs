//! When people posted last in rooms with slow mode.
//!
//! Counted by what was accepted: whoever was refused, or whose message the store did not take, may
//! try again at once, and so may who repeats the message that was accepted last. Each process
//! counts for itself, in memory: what it forgets costs a message too early.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use parking_lot::Mutex;
use tokio::time::Instant;
use uuid::Uuid;

use crate::command::Refusal;
use crate::protocol::{ErrorCode, ErrorReply};
use crate::room::RoomId;
use crate::store::{Appended, Draft};

/// Who posted last in rooms with slow mode: about 20 MB. When it is full, who posted longest ago
/// may post again too early.
const LAST_POSTS_MAX: u64 = 100_000;

/// How long that is remembered: no slow mode is slower.
const LAST_POSTS_KEPT: Duration = Duration::from_hours(24);

/// When people posted last in rooms with slow mode; one for the process.
#[derive(Debug)]
pub struct SlowMode {
    last: Cache<(RoomId, Arc<str>), Slot>,
}

/// The last post of one person in one room; held for a look and a change.
type Slot = Arc<Mutex<Option<Posted>>>;

/// A message that was accepted, or is about to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Posted {
    at: Instant,
    idem: Option<Uuid>,
}

/// Somebody's turn to post; given back when it is dropped unused.
#[derive(Debug)]
pub(super) struct Turn {
    slot: Slot,
    before: Option<Posted>,
    mine: Posted,
    is_used: bool,
}

impl SlowMode {
    /// One in which nobody has posted.
    #[must_use]
    pub fn new() -> Self {
        let last =
            Cache::builder().max_capacity(LAST_POSTS_MAX).time_to_idle(LAST_POSTS_KEPT).build();
        Self { last }
    }

    /// Takes the turn of who posts a draft.
    pub(super) async fn turn(
        &self,
        room: RoomId,
        draft: &Draft,
        interval: Duration,
    ) -> Result<Turn, Refusal> {
        let key = (room, draft.sender.clone());
        let slot = self.last.get_with(key, async { Slot::default() }).await;
        let mine = Posted { at: Instant::now(), idem: draft.idem };
        let mut last = slot.lock();
        let before = *last;
        if let Some(Posted { at, idem }) = before {
            let is_repeated = idem.is_some() && idem == draft.idem;
            let wait = (at + interval).saturating_duration_since(mine.at);
            if !is_repeated && !wait.is_zero() {
                return Err(too_soon(wait));
            }
        }
        *last = Some(mine);
        drop(last);
        Ok(Turn { slot, before, mine, is_used: false })
    }
}

impl Default for SlowMode {
    fn default() -> Self {
        Self::new()
    }
}

impl Turn {
    /// The message was accepted; one that was there already took no turn.
    pub(super) fn end(mut self, appended: &Appended) {
        self.is_used = !appended.duplicate;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut last = self.slot.lock();
        if !self.is_used && *last == Some(self.mine) {
            *last = self.before;
        }
    }
}

fn too_soon(wait: Duration) -> Refusal {
    // Rounded up: who comes back then is let in.
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    ErrorReply::new(ErrorCode::SlowMode)
        .with_reason("slow_mode")
        .with_retry_after_ms(wait_ms)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Json;
    use crate::room::MessageId;
    use crate::store::{Access, EventKind};

    const INTERVAL: Duration = Duration::from_secs(10);

    fn draft(room: RoomId, idem: Option<Uuid>) -> Draft {
        Draft {
            log: room.log(),
            channel: room.channel(),
            id: MessageId::new(),
            kind: EventKind::Message,
            sender: "ann".into(),
            idem,
            digest: 0,
            data: Json::parse(b"{}").unwrap(),
            access: Access::Member,
            accepted: Instant::now(),
        }
    }

    fn appended(duplicate: bool) -> Appended {
        Appended { offset: 1, id: MessageId::new(), time_ms: 0, duplicate }
    }

    fn wait_ms(refused: Result<Turn, Refusal>) -> Option<u64> {
        let Err(Refusal::Error(error)) = refused else { panic!("{refused:?}") };
        assert_eq!(error.code, ErrorCode::SlowMode);
        error.retry_after_ms
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_message_waits_until_the_interval_is_over() {
        let (slow, room) = (SlowMode::new(), RoomId::new());
        let message = draft(room, None);
        slow.turn(room, &message, INTERVAL).await.unwrap().end(&appended(false));
        tokio::time::advance(Duration::from_secs(4)).await;
        let wait = wait_ms(slow.turn(room, &message, INTERVAL).await).unwrap();
        assert!((6000..6100).contains(&wait), "{wait}");
        let elsewhere = RoomId::new();
        slow.turn(elsewhere, &draft(elsewhere, None), INTERVAL).await.unwrap();
        tokio::time::advance(Duration::from_millis(wait)).await;
        slow.turn(room, &message, INTERVAL).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_was_not_accepted_takes_no_turn() {
        let (slow, room) = (SlowMode::new(), RoomId::new());
        let message = draft(room, None);
        let turn = slow.turn(room, &message, INTERVAL).await.unwrap();
        // While the first is under way nobody knows yet whether the second comes too early.
        assert!(wait_ms(slow.turn(room, &message, INTERVAL).await).is_some());
        drop(turn);
        slow.turn(room, &message, INTERVAL).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn the_same_message_again_is_let_through_and_takes_no_turn() {
        let (slow, room) = (SlowMode::new(), RoomId::new());
        let message = draft(room, Some(Uuid::now_v7()));
        slow.turn(room, &message, INTERVAL).await.unwrap().end(&appended(false));
        tokio::time::advance(Duration::from_secs(6)).await;
        slow.turn(room, &message, INTERVAL).await.unwrap().end(&appended(true));
        let other = draft(room, Some(Uuid::now_v7()));
        let wait = wait_ms(slow.turn(room, &other, INTERVAL).await).unwrap();
        assert!((4000..4100).contains(&wait), "{wait}");
    }
}
