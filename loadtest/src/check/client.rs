//! A light client of the chat server, one of hundreds: what it does is [`Person`], this is its task.
//!
//! It comes back whenever its connection ends, to its own node first and to any other then, after a
//! short random pause that grows. A code that forbids it ends the task. It ends when all is said and
//! seen, or when the run is over.

mod link;
mod person;
mod place;
mod record;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

pub use self::link::{Gone, Link};
pub use self::person::{Leave, Person};
pub use self::place::{Broken, Kind, Place};
pub use self::record::{Line, Odd, Record};
use crate::check::world::{Goal, World};

/// The first pause before coming back, and the longest: SDKs begin at half a second, and presence
/// has to be true soon.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// Plays a client until the goal is reached or the run is over.
pub async fn play(mut person: Person, world: Arc<World>, home: usize) -> Record {
    let mut goal = world.goal.subscribe();
    let (mut node, mut pause) = (home, PAUSE_MIN);
    loop {
        let ended = visit(&mut person, &world, node, &mut goal).await;
        person.hang_up();
        match ended {
            Visit::Done => return person.finish(),
            Visit::Ended(Some(code)) if is_final(code) => {
                person.sent_away(code);
                return person.finish();
            }
            Visit::Ended(_) => pause = PAUSE_MIN,
            Visit::NotLetIn => {}
        }
        let jitter = rand::rng().random_range(0.5..1.5);
        sleep(pause.mul_f64(jitter)).await;
        pause = (pause * 2).min(PAUSE_MAX);
        // As behind a balancer: any node, for who was there once may be there again.
        node = rand::rng().random_range(0..world.doors.len());
    }
}

/// How a connection ended.
enum Visit {
    /// There was none.
    NotLetIn,
    /// It ended, with a close code if there was one.
    Ended(Option<u16>),
    /// There is nothing left to do.
    Done,
}

/// One connection, to its end.
async fn visit(
    person: &mut Person,
    world: &World,
    node: usize,
    goal: &mut watch::Receiver<Goal>,
) -> Visit {
    let Ok(mut link) = Link::open(world.doors[node]).await else {
        return if goal.borrow().is_over() { Visit::Done } else { Visit::NotLetIn };
    };
    if link.say(person.greet(node, Instant::now())).await.is_err() {
        return Visit::NotLetIn;
    }
    let mut heard = Instant::now();
    loop {
        if goal.borrow_and_update().lets_go(person) {
            return Visit::Done;
        }
        let now = Instant::now();
        if let Some(frame) = person.speak(now)
            && link.say(frame).await.is_err()
        {
            return Visit::Ended(None);
        }
        let silence = heard + person.silence_max();
        tokio::select! {
            frame = timeout_at(silence, link.hear()) => match frame {
                Ok(Ok(frame)) => {
                    heard = Instant::now();
                    if person.hear(&frame, heard).is_err() {
                        return Visit::Ended(None);
                    }
                }
                Ok(Err(Gone(code))) => return Visit::Ended(code),
                Err(_silent) => return Visit::Ended(None),
            },
            () = sleep_until(person.wake(now)) => {
                if person.mind(Instant::now()).is_err() {
                    return Visit::Ended(None);
                }
            }
            _ = goal.changed() => {}
        }
    }
}

/// Whether a close code says: do not come back.
const fn is_final(code: u16) -> bool {
    matches!(code, 3500..=3999 | 4500..=4999 | 1009)
}
