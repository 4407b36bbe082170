//! Publishers: as fast as they are answered, or at a rate whatever the answers.

use std::sync::Arc;
use std::time::Duration;

use chat_server::store::Committer;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::bed::{Source, percentile};

/// What one run gave.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) p999_ms: f64,
    /// Not written.
    pub(crate) failed: usize,
}

/// So many publishers, each of which sends its next message when the last one is acknowledged.
pub(crate) async fn saturate(
    committer: &Arc<Committer>,
    source: &Source,
    publishers: usize,
    time: Duration,
) -> Outcome {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..publishers {
        let (committer, source) = (committer.clone(), source.clone());
        tasks.spawn(async move {
            let (mut latencies, mut failed) = (Vec::new(), 0);
            while begun.elapsed() < time {
                let sent = Instant::now();
                match committer.append(source.message()).await {
                    Ok(_) => latencies.push(sent.elapsed()),
                    Err(_) => failed += 1,
                }
            }
            (latencies, failed)
        });
    }
    let (mut latencies, mut failed) = (Vec::new(), 0);
    for (some, not) in tasks.join_all().await {
        latencies.extend(some);
        failed += not;
    }
    Outcome::of(latencies, failed, begun.elapsed())
}

/// So many messages a second, whether or not the earlier ones are acknowledged; latency counts
/// from when a message was due.
pub(crate) async fn at_rate(
    committer: &Arc<Committer>,
    source: &Source,
    per_second: usize,
    time: Duration,
) -> Outcome {
    let tasks = TaskTracker::new();
    let done: Arc<Mutex<(Vec<Duration>, usize)>> = Arc::default();
    let begun = Instant::now();
    let due_at = |number: usize| begun + Duration::from_secs_f64(number as f64 / per_second as f64);
    let total = usize::try_from(time.as_secs()).unwrap_or(0) * per_second;
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next = 0;
    while next < total {
        ticks.tick().await;
        let now = Instant::now();
        while next < total && due_at(next) <= now {
            let (committer, done) = (committer.clone(), done.clone());
            let (draft, due) = (source.message(), due_at(next));
            tasks.spawn(async move {
                let outcome = committer.append(draft).await;
                let took = due.elapsed();
                let mut done = done.lock();
                match outcome {
                    Ok(_) => done.0.push(took),
                    Err(_) => done.1 += 1,
                }
            });
            next += 1;
        }
    }
    tasks.close();
    tasks.wait().await;
    let took = begun.elapsed();
    let (latencies, failed) = std::mem::take(&mut *done.lock());
    Outcome::of(latencies, failed, took)
}

impl Outcome {
    pub(crate) fn of(mut latencies: Vec<Duration>, failed: usize, took: Duration) -> Self {
        latencies.sort_unstable();
        Self {
            per_second: latencies.len() as f64 / took.as_secs_f64(),
            p50_ms: percentile(&latencies, 500),
            p99_ms: percentile(&latencies, 990),
            p999_ms: percentile(&latencies, 999),
            failed,
        }
    }
}
