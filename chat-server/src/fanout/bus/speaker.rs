//! Says what has gathered, in one pipeline.
//!
//! What cannot be said is lost, and counted: nothing is said late, and nothing twice. A server that
//! is silent costs what waits for it, never whoever speaks.

use std::time::Duration;

use chassis::redis::Mouth;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::line::{Said, Work};

/// Messages of one pipeline.
const PIPELINE_MAX: usize = 256;

/// Between two attempts to connect: what is to be said meanwhile is lost.
const RETRY: Duration = Duration::from_millis(250);

/// Says what comes until nobody can say anything more.
pub(super) async fn speak(work: &Work, waiting: &mut mpsc::Receiver<Said>, said: &mut Vec<Said>) {
    let meters = work.transport.meters();
    let mut mouth = None;
    let mut tried: Option<Instant> = None;
    while waiting.recv_many(said, PIPELINE_MAX).await > 0 {
        if mouth.is_none() && tried.is_none_or(|tried| tried.elapsed() >= RETRY) {
            mouth = connect(work).await;
            tried = Some(Instant::now());
        }
        let lost = match &mut mouth {
            Some(open) => match open.publish(said).await {
                Ok(published) => {
                    if published.moved {
                        work.transport.search_soon();
                    }
                    published.refused
                }
                Err(error) => {
                    tracing::debug!(server = %work.line.server, %error, "messages are lost");
                    mouth = None;
                    // What waited behind them is late by now.
                    said.len() + drain(work, waiting)
                }
            },
            None => said.len() + drain(work, waiting),
        };
        // More may be lost than was sent at this turn: the rest of the queue.
        meters.said.increment(said.len().saturating_sub(lost) as u64);
        meters.lost.increment(lost as u64);
        work.line.is_done_with(said);
        said.clear();
    }
}

async fn connect(work: &Work) -> Option<Mouth> {
    let mouth = work.redis.mouth(&work.line.server).await;
    let report = |error: &_| tracing::debug!(server = %work.line.server, %error, "cannot speak");
    mouth.inspect_err(report).ok()
}

/// What waits, and what is under way, is lost.
pub(super) fn lose(work: &Work, waiting: &mut mpsc::Receiver<Said>, under_way: &[Said]) {
    work.line.is_done_with(under_way);
    let lost = under_way.len() + drain(work, waiting);
    work.transport.meters().lost.increment(lost as u64);
}

fn drain(work: &Work, waiting: &mut mpsc::Receiver<Said>) -> usize {
    let mut lost = 0;
    while let Ok(said) = waiting.try_recv() {
        work.line.is_done_with(&[said]);
        lost += 1;
    }
    lost
}
