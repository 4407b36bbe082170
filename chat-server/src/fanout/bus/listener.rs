//! Keeps the list of what is wanted of a server against what is listened to there.
//!
//! A connection that broke is made again whole; then whoever receives is told that something may
//! have been missed.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::redis::{Ear, Error, Heard};
use rand::RngExt;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::line::{Changes, Work};

/// Topics in one pipeline.
const TOPICS_MAX: usize = 256;

/// Between two looks whether the server is still there. With the second that silence may last, one
/// that is silently gone is missed within two.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Between two attempts to listen again, at most; nodes do not all come at once.
const RETRY_MAX: Duration = Duration::from_secs(1);

/// What the task of a connection tells of it.
#[derive(Debug, Default)]
struct Fate {
    is_over: AtomicBool,
    wake: Notify,
}

/// How listening ended.
enum Ended {
    /// The connection cannot be used, or cannot be had.
    Failed(Error),
    /// It broke, or topics went elsewhere.
    Over,
}

impl<E: Into<Error>> From<E> for Ended {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Listens for ever.
pub(super) async fn listen(work: &Work) {
    let mut heard = HashSet::new();
    loop {
        let Err(ended) = listen_once(work, &mut heard).await;
        let reason = match &ended {
            Ended::Failed(error) => {
                tracing::debug!(server = %work.line.server, %error, "nothing is heard");
                error.fault().word()
            }
            Ended::Over => "unreachable",
        };
        work.line.rest(reason);
        work.transport.confirm(&work.line, &heard, false);
        heard.clear();
        work.transport.settle();
        // It may be another server by now that has the topics.
        work.transport.search_soon();
        let part: f64 = rand::rng().random_range(0.1..1.0);
        sleep(RETRY_MAX.mul_f64(part)).await;
    }
}

async fn listen_once(
    work: &Work,
    listened: &mut HashSet<Arc<str>>,
) -> Result<std::convert::Infallible, Ended> {
    let Work { line, redis, transport, receiver } = work;
    let fate = Arc::new(Fate::default());
    let (told, hears, receives) = (fate.clone(), transport.clone(), receiver.clone());
    let mut ear = redis
        .ear(&line.server, move |what| match what {
            Heard::Said { topic, message } => hears.heard(&topic, message, &*receives),
            Heard::Moved | Heard::Gone => {
                told.is_over.store(true, Ordering::Release);
                told.wake.notify_one();
            }
        })
        .await?;
    line.gather();
    begin(work, &mut ear, transport.topics_of(line), listened).await?;
    line.is_whole();
    transport.settle();
    receiver.resumed();
    let mut looks = interval(LOOK_INTERVAL);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = fate.wake.notified() => return Err(Ended::Over),
            () = line.wake.notified() => change(work, &mut ear, listened).await?,
            _ = looks.tick() => { ear.look().await?; }
        }
        if fate.is_over.load(Ordering::Acquire) {
            return Err(Ended::Over);
        }
    }
}

/// Begins and ends to listen, as what is wanted has changed.
async fn change(work: &Work, ear: &mut Ear, listened: &mut HashSet<Arc<str>>) -> Result<(), Error> {
    let Work { line, transport, receiver, .. } = work;
    let Changes { topics, have_moved } = line.changes();
    let is_wanted = |topic: &Arc<str>| transport.is_wanted_of(line, topic);
    let (wanted, unwanted): (Vec<_>, Vec<_>) = topics.into_iter().partition(is_wanted);
    begin(work, ear, wanted, listened).await?;
    if have_moved {
        line.is_whole();
        transport.settle();
        receiver.resumed();
    }
    let over: Vec<_> = unwanted.into_iter().filter(|topic| listened.remove(topic)).collect();
    for topics in over.chunks(TOPICS_MAX) {
        ear.end(topics.iter().map(|topic| &**topic)).await?;
    }
    Ok(())
}

async fn begin(
    work: &Work,
    ear: &mut Ear,
    topics: Vec<Arc<str>>,
    listened: &mut HashSet<Arc<str>>,
) -> Result<(), Error> {
    for topics in topics.chunks(TOPICS_MAX) {
        let new = topics.iter().filter(|topic| !listened.contains(*topic));
        ear.begin(new.map(|topic| &**topic)).await?;
        work.transport.confirm(&work.line, topics, true);
        listened.extend(topics.iter().cloned());
    }
    Ok(())
}
