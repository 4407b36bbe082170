//! What channels miss, and when it is read: each channel is in here once, however often it is said
//! to miss something, and is read by one at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use tokio::time::{Instant, sleep_until};

use super::{Fetched, LAST_PATIENCE, PATIENCE};
use crate::channel::Channel;

/// The channels that miss something: not more than there are.
#[derive(Debug, Default)]
pub(super) struct Misses {
    known: HashMap<Id, Missing>,
    /// What may still come by itself, in the order of the times when it is fetched.
    awaited: VecDeque<(Id, Instant)>,
    /// What could not be read and may come by itself all the same.
    last_hopes: VecDeque<(Id, Instant)>,
}

/// Where a channel lies: another one of its name is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Id(usize);

#[derive(Debug)]
struct Missing {
    channel: Arc<Channel>,
    /// It is fetched up to here.
    upto: u64,
    stage: Stage,
    /// What was found to be missing since it was asked for.
    more: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It is given a moment.
    Awaited,
    /// It is being read, or waits to be for the last time.
    Asked,
}

/// Something to be read now.
#[derive(Debug, Clone)]
pub(super) struct Awaited {
    pub(super) channel: Arc<Channel>,
    /// It is fetched up to here.
    pub(super) upto: u64,
    /// What is not there now is gone.
    pub(super) is_last: bool,
}

impl Misses {
    /// A channel misses something up to an offset.
    pub(super) fn add(&mut self, channel: Arc<Channel>, upto: u64) {
        let id = Id::of(&channel);
        match self.known.get_mut(&id) {
            Some(missing) if missing.stage == Stage::Awaited => {
                missing.upto = missing.upto.max(upto);
            }
            Some(missing) => missing.more = missing.more.max(Some(upto)),
            None => {
                let missing = Missing { channel, upto, stage: Stage::Awaited, more: None };
                self.known.insert(id, missing);
                self.awaited.push_back((id, Instant::now() + PATIENCE));
            }
        }
    }

    /// The next one, when it is due; never, when there is none.
    pub(super) async fn due(&mut self) -> Awaited {
        let first = |line: &VecDeque<(Id, Instant)>| line.front().map(|(_, due)| *due);
        let (awaited, last) = (first(&self.awaited), first(&self.last_hopes));
        let Some(due) = awaited.into_iter().chain(last).min() else {
            return std::future::pending().await;
        };
        sleep_until(due).await;
        let is_last = last == Some(due);
        let line = if is_last { &mut self.last_hopes } else { &mut self.awaited };
        let (id, _due) = line.pop_front().expect("the first one was waited for");
        let missing = self.known.get_mut(&id).expect("what is in line is known");
        missing.stage = Stage::Asked;
        Awaited { channel: missing.channel.clone(), upto: missing.upto, is_last }
    }

    /// What became of it. What is lost is looked for once more, later.
    pub(super) fn done(&mut self, awaited: &Awaited, fetched: Option<Fetched>) {
        let id = Id::of(&awaited.channel);
        if fetched == Some(Fetched::Lost) && !awaited.is_last {
            self.last_hopes.push_back((id, Instant::now() + LAST_PATIENCE));
            return;
        }
        let Some(missing) = self.known.remove(&id) else { return };
        if let Some(more) = missing.more.filter(|_| !missing.channel.is_over()) {
            self.add(missing.channel, more);
        }
    }
}

impl Id {
    fn of(channel: &Arc<Channel>) -> Self {
        // It stays there for as long as it is known.
        Self(Arc::as_ptr(channel).addr())
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::time::advance;

    use super::*;
    use crate::channel::testing::{channel, hub};

    fn channels<const N: usize>(names: [&str; N]) -> [Arc<Channel>; N] {
        let hub = hub();
        names.map(|name| channel(&hub, name))
    }

    async fn next(misses: &mut Misses, after: std::time::Duration) -> Awaited {
        assert!(misses.due().now_or_never().is_none(), "it is given a moment");
        advance(after).await;
        misses.due().now_or_never().expect("it is due")
    }

    #[tokio::test(start_paused = true)]
    async fn a_channel_that_misses_more_and_more_is_read_once() {
        let [lobby, hall] = channels(["lobby", "hall"]);
        let mut misses = Misses::default();
        for upto in [3, 7, 5] {
            misses.add(lobby.clone(), upto);
        }
        misses.add(hall.clone(), 2);
        let first = next(&mut misses, PATIENCE).await;
        assert_eq!((first.channel.name(), first.upto), (lobby.name(), 7));
        let second = misses.due().now_or_never().unwrap();
        assert_eq!((second.channel.name(), second.upto), (hall.name(), 2));
        misses.done(&first, Some(Fetched::All));
        misses.done(&second, None);
        assert!(misses.due().now_or_never().is_none() && misses.known.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_channel_misses_while_it_is_read_is_read_after_that() {
        let [lobby] = channels(["lobby"]);
        let mut misses = Misses::default();
        misses.add(lobby.clone(), 3);
        let first = next(&mut misses, PATIENCE).await;
        misses.add(lobby.clone(), 9);
        misses.add(lobby.clone(), 8);
        advance(PATIENCE * 2).await;
        assert!(misses.due().now_or_never().is_none(), "one at a time");
        misses.done(&first, Some(Fetched::All));
        assert_eq!(next(&mut misses, PATIENCE).await.upto, 9);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_lost_is_looked_for_once_more_and_then_given_up() {
        let [lobby] = channels(["lobby"]);
        let mut misses = Misses::default();
        misses.add(lobby.clone(), 3);
        let first = next(&mut misses, PATIENCE).await;
        misses.done(&first, Some(Fetched::Lost));
        let last = next(&mut misses, LAST_PATIENCE).await;
        assert!(!first.is_last && last.is_last && last.upto == 3);
        misses.done(&last, Some(Fetched::Lost));
        assert!(misses.due().now_or_never().is_none() && misses.known.is_empty());
    }
}
