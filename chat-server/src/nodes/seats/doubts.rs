//! Seats that nobody sits on, of nodes that live.
//!
//! A seat may be given back before Redis was told that it is taken: the two may travel on different
//! connections when a client goes while it connects. Then it stays, under a node that lives, and
//! only that node can tell. So who finds every seat taken leaves the name of the person with the
//! nodes that have seats, and each of them looks through its own a moment later. An identity is
//! that of one connection only: a seat that is not held once is never held again.
//!
//! A house that was found full is remembered for a moment: who knocks again and again costs one
//! question each time.

use std::sync::Arc;
use std::time::Duration;

use chassis::redis::Error;
use chassis::redis::commands::cmd;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use uuid::Uuid;

use super::{Found, Seats};

/// How often a node looks whether its seats are doubted.
const ANSWER: Duration = Duration::from_millis(500);

/// When every node that lives has answered a doubt: it has looked, and its writes are done.
pub(super) const ANSWERED: Duration = Duration::from_millis(1200);

/// Persons of one look; a second has two of them.
const DOUBTS_MAX: usize = 100;

/// How long a doubt waits for a node that may be dead, in seconds.
const DOUBT_KEPT_S: u64 = 60;

/// How long a full house is remembered.
const FULL_KEPT: Duration = Duration::from_secs(2);

/// Full houses that are remembered; more are looked at anew. About 100 bytes each.
const FULL_MAX: usize = 10_000;

/// Who was found to have all seats taken by connections that live, and when.
#[derive(Debug, Default)]
pub(super) struct FullHouses(Mutex<HashMap<Arc<str>, Instant>>);

impl FullHouses {
    pub(super) fn remember(&self, user: &Arc<str>, now: Instant) {
        let mut found = self.0.lock();
        if found.len() >= FULL_MAX {
            found.retain(|_, at| now - *at < FULL_KEPT);
        }
        if found.len() < FULL_MAX {
            found.insert(user.clone(), now);
        }
    }

    pub(super) fn knows(&self, user: &str, now: Instant) -> bool {
        self.0.lock().get(user).is_some_and(|at| now - *at < FULL_KEPT)
    }

    pub(super) fn forget(&self, user: &str) {
        self.0.lock().remove(user);
    }
}

impl Seats {
    /// Asks the other nodes whether these seats are taken; false when they are all of this one.
    pub(super) async fn doubt(&self, user: &str, found: &[Found]) -> bool {
        let own = self.nodes.incarnation();
        let others = found.iter().filter_map(|(_, incarnation)| *incarnation);
        let others: HashSet<Uuid> = others.filter(|incarnation| *incarnation != own).collect();
        for incarnation in &others {
            if let Err(error) = self.ask_owner(*incarnation, user).await {
                tracing::debug!(%error, "a node does not know that its seats are doubted");
            }
        }
        !others.is_empty()
    }

    async fn ask_owner(&self, owner: Uuid, user: &str) -> Result<(), Error> {
        let (redis, key) = (self.nodes.redis(), self.doubts_of(owner));
        let () = redis.query(cmd("SADD").arg(&key).arg(user)).await?;
        redis.query(cmd("EXPIRE").arg(&key).arg(DOUBT_KEPT_S)).await
    }

    /// Answers what others doubt, for ever.
    pub(super) async fn answer(&self) {
        let mut ticks = interval(ANSWER);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.nodes.leased().await;
            if let Err(error) = self.answer_once().await {
                // Whoever is refused doubts again.
                tracing::debug!(%error, "seats could not be looked through");
            }
        }
    }

    async fn answer_once(&self) -> Result<(), Error> {
        let doubts = self.doubts_of(self.nodes.incarnation());
        let mut take = cmd("SPOP");
        take.arg(doubts).arg(DOUBTS_MAX);
        let users: Vec<String> = self.nodes.redis().query(&take).await?;
        for user in users {
            self.look_through(&user).await?;
        }
        Ok(())
    }

    /// Removes the seats of this node that nobody holds.
    async fn look_through(&self, user: &str) -> Result<(), Error> {
        let (redis, key) = (self.nodes.redis(), self.key(user));
        let found: Vec<(String, String)> = redis.query(cmd("HGETALL").arg(&key)).await?;
        let own = self.nodes.incarnation().to_string();
        let seats = found.into_iter().filter(|(_, incarnation)| *incarnation == own);
        let left = seats.map(|(connection, _)| connection);
        let left: Vec<String> = left.filter(|connection| !self.is_held(connection)).collect();
        if left.is_empty() {
            return Ok(());
        }
        tracing::debug!(seats = left.len(), "seats that nobody holds are given back");
        redis.query(cmd("HDEL").arg(key).arg(left)).await
    }

    fn doubts_of(&self, incarnation: Uuid) -> String {
        self.nodes.key(&format!("doubted:{incarnation}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_is_remembered_for_a_moment_and_so_many_of_them() {
        let (houses, now) = (FullHouses::default(), Instant::now());
        houses.remember(&"ann".into(), now);
        assert!(houses.knows("ann", now) && !houses.knows("bob", now));
        assert!(!houses.knows("ann", now + FULL_KEPT));
        for user in 0..FULL_MAX {
            houses.remember(&user.to_string().into(), now);
        }
        assert_eq!(houses.0.lock().len(), FULL_MAX);
        houses.remember(&"sue".into(), now);
        assert!(!houses.knows("sue", now));
        houses.remember(&"sue".into(), now + FULL_KEPT);
        assert_eq!(houses.0.lock().len(), 1);
        houses.forget("sue");
        assert!(!houses.knows("sue", now + FULL_KEPT));
    }
}
