//! What dead nodes left behind is removed, and their clients' leaves are told.
//!
//! Every node looks after every beat; an incarnation of which two beats in a row say that its
//! lease has run out is buried. After a pause of Redis all leases have run out until everyone has
//! beaten once more, so a node that missed beats itself waits for the others first. Of the dead
//! each is looked after by one node at a time, for as long as its claim lasts; what one leaves
//! undone another finishes. Removing is idempotent, and only who removed an entry tells of it, so a
//! leave is told once.
//!
//! A dead incarnation is looked at again after a while, for what it had sent may have been on its
//! way, and then forgotten.

use std::collections::HashSet;
use std::time::Duration;

use chassis::redis::Error;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;
use uuid::Uuid;

use super::table::{Rest, Table};
use super::{AT_ONCE, Presence};
use crate::channel::CROWD;
use crate::fanout::bus::{Crowd, Message, Topic};
use crate::protocol::ClientInfo;

/// A node whose beats were further apart has missed one, and so have the others, perhaps.
const GAP: Duration = Duration::from_millis(2_000);

/// How long it has to beat on before it takes others for dead: several beats of theirs.
const STEADY: Duration = Duration::from_secs(3);

/// How long whoever looks after a dead incarnation has for a step: some hundred channels.
const CLAIM: Duration = Duration::from_secs(3);

/// When it is looked at again.
const AGAIN: Duration = Duration::from_secs(10);

/// How long after its death it is forgotten: what it had sent has arrived or is lost.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(20);

/// Whose lease has run out by the last beat.
#[derive(Debug)]
struct Suspects {
    over: HashSet<Uuid>,
    /// When the last beat was.
    beaten: Instant,
    /// Since when none was missed.
    steady_since: Instant,
}

impl Suspects {
    fn new(now: Instant) -> Self {
        Self { over: HashSet::new(), beaten: now, steady_since: now }
    }

    /// Who is dead, when the leases of `over` have run out by a beat at `now`.
    fn judge(&mut self, over: HashSet<Uuid>, now: Instant) -> HashSet<Uuid> {
        if now - self.beaten > GAP {
            self.steady_since = now;
        }
        self.beaten = now;
        let before = std::mem::replace(&mut self.over, over);
        match now - self.steady_since >= STEADY {
            true => self.over.intersection(&before).copied().collect(),
            false => HashSet::new(),
        }
    }
}

impl Presence {
    /// Looks after the dead, for ever.
    pub(super) async fn reap(&self, table: &Table) {
        let mut beats = table.nodes().beats();
        let mut suspects = Suspects::new(Instant::now());
        loop {
            if beats.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let over = beats.borrow_and_update().over().iter().copied().collect();
            let dead = suspects.judge(over, Instant::now());
            if let Err(error) = self.look_after(table, &dead).await {
                // The claim ends, and somebody goes on.
                tracing::debug!(%error, "what dead nodes left behind could not be removed");
            }
        }
    }

    async fn look_after(&self, table: &Table, dead: &HashSet<Uuid>) -> Result<(), Error> {
        for incarnation in dead {
            tracing::warn!(%incarnation, "a node let its lease run out");
        }
        let mut due = table.bury(dead, CLAIM).await?;
        while let Some(incarnation) = due {
            // What is not done is done by whoever comes after the claim.
            if self.empty(table, incarnation).await? {
                table.rest(incarnation, Rest::Over, AGAIN, FORGOTTEN_AFTER).await?;
            }
            due = table.bury(&HashSet::new(), CLAIM).await?;
        }
        Ok(())
    }

    /// Removes all entries of a dead incarnation; false when some are left, yet none could be
    /// removed: somebody else is at it, or it would go on for ever.
    async fn empty(&self, table: &Table, dead: Uuid) -> Result<bool, Error> {
        loop {
            let channels = table.left_in(dead).await?;
            if channels.is_empty() {
                return Ok(true);
            }
            let sweep = |channel: &String| {
                let channel = channel.clone();
                async move { self.sweep(table, dead, &channel).await }
            };
            let swept = stream::iter(channels.iter().map(sweep)).buffer_unordered(AT_ONCE);
            let () = swept.try_collect().await?;
            if table.forget(dead, &channels).await? == 0 {
                return Ok(false);
            }
            table.rest(dead, Rest::Under, CLAIM, FORGOTTEN_AFTER).await?;
        }
    }

    async fn sweep(&self, table: &Table, dead: Uuid, channel: &str) -> Result<(), Error> {
        let (mut next, mut was_crowd, mut gone) = (Some(0), false, Vec::new());
        while let Some(at) = next {
            let swept = table.sweep(dead, channel, at).await?;
            was_crowd |= swept.before > CROWD;
            next = swept.next;
            gone.extend(swept.gone);
            // Told as they go: who looks after this next cannot know of them.
            if !was_crowd {
                gone.drain(..).for_each(|info| self.tell_left(channel, &info));
            }
        }
        if was_crowd && !gone.is_empty() {
            let numbers = table.count(channel).await?;
            let crowd = Crowd { clients: numbers.num_clients, users: numbers.num_users };
            self.bus.say(Topic::Channel(channel), &Message::Crowd(crowd));
            if let Some(channel) = self.hub.find_by_text(channel) {
                channel.counted(usize::try_from(crowd.clients).unwrap_or(usize::MAX));
            }
        }
        Ok(())
    }

    fn tell_left(&self, channel: &str, info: &ClientInfo) {
        if let Some(channel) = self.hub.find_by_text(channel) {
            channel.left_elsewhere(info);
        }
        self.bus.say(Topic::Channel(channel), &Message::Left(info.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is dead after beats this many seconds after the beginning, with one lease over.
    fn judged(beats: &[u64]) -> Vec<bool> {
        let begun = Instant::now();
        let mut suspects = Suspects::new(begun);
        let over = HashSet::from([Uuid::nil()]);
        let judge = |&second| {
            let now = begun + Duration::from_secs(second);
            !suspects.judge(over.clone(), now).is_empty()
        };
        beats.iter().map(judge).collect()
    }

    #[test]
    fn who_is_over_twice_is_dead_unless_beats_were_missed_here_as_well() {
        assert_eq!(judged(&[3, 4, 5]), [false, false, false]);
        assert_eq!(judged(&[1, 2, 3, 4]), [false, false, true, true]);
        assert_eq!(judged(&[1, 2, 3, 12, 13, 14, 15]), {
            [false, false, true, false, false, false, true]
        });
    }

    #[test]
    fn one_beat_is_not_enough() {
        let begun = Instant::now();
        let mut suspects = Suspects::new(begun);
        for second in 1..10 {
            let over = if second % 2 == 0 { HashSet::new() } else { HashSet::from([Uuid::nil()]) };
            let now = begun + Duration::from_secs(second);
            assert_eq!(suspects.judge(over, now), HashSet::new());
        }
    }
}
