//! Read marks on their way to a person's other devices and to the people in the room.
//!
//! A client that scrolls marks many times a second; its mark is written each time, and told at
//! most once a second for each person and room. What is told is where the mark stands then, so the
//! last one always gets out, also at the end of the server and after a time without a store.

use std::sync::Arc;
use std::time::Duration;

use chassis::delivery::Class;
use futures_util::StreamExt;
use hashbrown::HashMap;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{Refusal, Services};
use crate::channel::ChannelName;
use crate::fanout::within;
use crate::protocol::{Json, Publication};
use crate::room::{Act, RoomId};
use crate::store::{self, Mark, Tell, Unread};

/// Between two times that one mark is told.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often those that wait are looked at.
const TICK: Duration = Duration::from_millis(200);

/// Marks that are followed at once, about 20 MB; more than these are told each time.
const FOLLOWED_MAX: usize = 100_000;

/// Marks that are told at the same time: a few of the store's connections.
const TOLD_AT_ONCE: usize = 4;

/// People in a room up to which they see each other's marks: beyond, everyone who reads a message
/// would tell everyone else, and nobody looks at a hundred names below it.
const READERS_SHOWN_MAX: u32 = 100;

type Key = (Arc<str>, RoomId);

/// The marks that were told in the last second; one for the process.
#[derive(Debug, Default)]
pub struct ReadMarks {
    /// Held for a look-up, or for one pass over all.
    told: Mutex<HashMap<Key, Told>>,
}

#[derive(Debug, Clone, Copy)]
struct Told {
    at: Instant,
    /// It has moved since.
    is_behind: bool,
}

/// Moves a mark, and tells of it now or within a second.
///
/// # Errors
/// What the room says, 400 `offset` behind its head, what the store says.
pub(super) async fn mark(services: &Services, mark: Mark) -> Result<Unread, Refusal> {
    let Mark { room, user, offset } = mark.clone();
    services.authority.permit(room, &user, Act::Mark).await?;
    let before = within(services.store.reader(room, &user)).await?;
    before.check(offset)?;
    if offset <= before.offset {
        return Ok(within(services.store.unread(room, &user)).await?);
    }
    let tell = services.read_marks.follow(&(user.clone(), room), Instant::now());
    let fanout = &services.fanout;
    let marked = fanout.change(|store| async move { store.mark(&mark, tell).await }).await?;
    if marked.has_moved && tell == Tell::Now {
        show(services, &user, marked.unread);
    }
    Ok(marked.unread)
}

/// Tells what waits until `over`, and then the rest.
pub async fn tell(services: Arc<Services>, over: CancellationToken) {
    let mut ticks = tokio::time::interval(TICK);
    loop {
        let now = tokio::select! {
            biased;
            () = over.cancelled() => break,
            now = ticks.tick() => now,
        };
        tell_all(&services, services.read_marks.due(now)).await;
    }
    tell_all(&services, services.read_marks.rest()).await;
}

async fn tell_all(services: &Services, keys: Vec<Key>) {
    let all = futures_util::stream::iter(keys);
    all.for_each_concurrent(TOLD_AT_ONCE, |key| async move {
        let (user, room) = key.clone();
        let change = |store: Arc<store::Store>| async move { store.tell_mark(room, &user).await };
        match services.fanout.change(change).await {
            Ok(Some(unread)) => show(services, &key.0, unread),
            Ok(None) => {}
            Err(error) => {
                tracing::debug!(%error, "a read mark is told later");
                services.read_marks.again(key);
            }
        }
    })
    .await;
}

/// Shows the people in a room up to where one of them has read, as long as they are few.
fn show(services: &Services, user: &str, unread: Unread) {
    let Ok(name) = ChannelName::parse(&unread.room.channel()) else { return };
    let channel = services.hub.find(&name);
    if channel.is_some_and(|channel| channel.presence_stats().num_users > READERS_SHOWN_MAX) {
        return;
    }
    let words = json!({ "type": "read", "user": user, "offset": unread.offset });
    let Ok(data) = Json::from_value(&words) else { return };
    services.fanout.ephemeral(name.shared(), Publication::new(data), Class::Presence);
}

impl ReadMarks {
    /// A mark moves: whether that is told now.
    fn follow(&self, key: &Key, now: Instant) -> Tell {
        let mut told = self.told.lock();
        let is_full = told.len() >= FOLLOWED_MAX;
        match told.get_mut(key) {
            Some(told) => {
                told.is_behind = true;
                return Tell::Later;
            }
            None if is_full => {}
            None => {
                told.insert(key.clone(), Told { at: now, is_behind: false });
            }
        }
        Tell::Now
    }

    /// What is to be told now; what has not moved for a second is no longer followed.
    fn due(&self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        self.told.lock().retain(|key, told| {
            if now.saturating_duration_since(told.at) < INTERVAL {
                return true;
            }
            let is_due = std::mem::take(&mut told.is_behind);
            if is_due {
                told.at = now;
                due.push(key.clone());
            }
            is_due
        });
        due
    }

    /// Everything that was not told yet.
    fn rest(&self) -> Vec<Key> {
        let told = std::mem::take(&mut *self.told.lock());
        told.into_iter().filter(|(_, told)| told.is_behind).map(|(key, _)| key).collect()
    }

    /// It could not be told.
    fn again(&self, key: Key) {
        let told = Told { at: Instant::now(), is_behind: true };
        self.told.lock().insert(key, told);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(user: &str) -> Key {
        (user.into(), RoomId::from_uuid(uuid::Uuid::nil()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_mark_is_told_at_once_and_then_once_a_second() {
        let (marks, ann, begin) = (ReadMarks::default(), key("ann"), Instant::now());
        assert_eq!(marks.follow(&ann, begin), Tell::Now);
        assert_eq!(marks.follow(&ann, begin), Tell::Later);
        assert_eq!(marks.follow(&ann, begin), Tell::Later);
        assert_eq!(marks.follow(&key("bob"), begin), Tell::Now);
        assert_eq!(marks.due(begin + TICK), []);
        assert_eq!(marks.due(begin + INTERVAL), std::slice::from_ref(&ann));
        // Told a moment ago, and still followed.
        assert_eq!(marks.follow(&ann, begin + INTERVAL), Tell::Later);
        assert_eq!(marks.due(begin + INTERVAL + TICK), []);
        assert_eq!(marks.due(begin + INTERVAL * 2), std::slice::from_ref(&ann));
        assert_eq!(marks.due(begin + INTERVAL * 3), []);
        assert_eq!(marks.follow(&ann, begin + INTERVAL * 3), Tell::Now);
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_told_is_told_later() {
        let (marks, ann, begin) = (ReadMarks::default(), key("ann"), Instant::now());
        marks.again(ann.clone());
        assert_eq!(marks.due(begin + INTERVAL), std::slice::from_ref(&ann));
        assert_eq!(marks.rest(), []);
        marks.again(ann.clone());
        assert_eq!(marks.rest(), [ann]);
    }

    #[test]
    fn with_too_many_marks_each_is_told() {
        let (marks, now) = (ReadMarks::default(), Instant::now());
        for user in 0..FOLLOWED_MAX {
            assert_eq!(marks.follow(&key(&user.to_string()), now), Tell::Now);
        }
        let late = key("late");
        assert_eq!(marks.follow(&late, now), Tell::Now);
        assert_eq!(marks.follow(&late, now), Tell::Now);
        assert_eq!(marks.follow(&key("1"), now), Tell::Later);
    }
}
