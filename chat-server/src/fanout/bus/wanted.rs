//! Which topics are to be listened to, and which are.
//!
//! A topic is wanted while somebody holds it. Whether it is listened to is known to each of them;
//! who listens asks here what to begin and what to end.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Topics by their names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// A lock, for it is held as long as a look into a table takes.
    topics: Mutex<HashMap<Arc<str>, Want>>,
}

#[derive(Debug)]
struct Want {
    holders: usize,
    confirmed: Arc<Confirmed>,
}

/// Whether a topic is listened to. There is one for everybody who is connected, so it is small: a
/// `watch` takes six times as much.
#[derive(Debug, Default)]
pub(super) struct Confirmed {
    is_so: AtomicBool,
    changed: Notify,
}

/// A topic that is held: one text and one word for all who hold it.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) topic: Arc<str>,
    pub(super) confirmed: Arc<Confirmed>,
    /// Nobody held it before.
    pub(super) is_first: bool,
}

impl Confirmed {
    /// Whether it is listened to now.
    pub(super) fn is_so(&self) -> bool {
        self.is_so.load(Ordering::Acquire)
    }

    /// Waits until it is listened to.
    pub(super) async fn wait(&self) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // It waits from here on: what changes behind the look is not missed.
            changed.as_mut().enable();
            if self.is_so() {
                return;
            }
            changed.await;
        }
    }

    fn set(&self, is_so: bool) {
        self.is_so.store(is_so, Ordering::Release);
        self.changed.notify_waiters();
    }
}

impl Wanted {
    /// One more holder.
    pub(super) fn hold(&self, topic: Arc<str>) -> Hold {
        let mut topics = self.topics.lock();
        let entry = topics.entry(topic);
        let topic = entry.key().clone();
        let want = entry.or_insert_with(|| Want { holders: 0, confirmed: Arc::default() });
        want.holders += 1;
        Hold { topic, confirmed: want.confirmed.clone(), is_first: want.holders == 1 }
    }

    /// One holder less; true when nobody is left.
    pub(super) fn release(&self, topic: &Arc<str>) -> bool {
        let mut topics = self.topics.lock();
        let Some(want) = topics.get_mut(topic) else { return false };
        want.holders -= 1;
        let is_over = want.holders == 0;
        if is_over {
            topics.remove(topic);
        }
        is_over
    }

    pub(super) fn is_held(&self, topic: &Arc<str>) -> bool {
        self.topics.lock().contains_key(topic)
    }

    /// All that are held and fit.
    pub(super) fn all(&self, fits: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        self.topics.lock().keys().filter(|topic| fits(topic)).cloned().collect()
    }

    /// Tells the holders whether these are listened to.
    pub(super) fn confirm<'a>(
        &self,
        topics: impl IntoIterator<Item = &'a Arc<str>>,
        confirmed: bool,
    ) {
        let wanted = self.topics.lock();
        for want in topics.into_iter().filter_map(|topic| wanted.get(topic)) {
            want.confirmed.set(confirmed);
        }
    }
}

#[cfg(test)]
mod tests {
    use chassis::testing::deadline;

    use super::*;

    #[test]
    fn a_topic_is_wanted_while_somebody_holds_it() {
        let wanted = Wanted::default();
        let Hold { topic, confirmed, is_first } = wanted.hold("a".into());
        assert!(is_first && !confirmed.is_so());
        let again = wanted.hold("a".into());
        assert!(!again.is_first && Arc::ptr_eq(&again.topic, &topic));
        wanted.confirm([&topic], true);
        assert!(confirmed.is_so() && again.confirmed.is_so());
        assert!(!wanted.release(&topic) && wanted.is_held(&topic));
        assert!(wanted.release(&topic) && !wanted.is_held(&topic));
        // Held again it is not listened to, whatever was before.
        assert!(!wanted.hold(topic).confirmed.is_so());
    }

    #[tokio::test]
    async fn who_waits_for_a_topic_is_told_when_it_is_listened_to_and_not_when_it_is_not() {
        let wanted = Wanted::default();
        let Hold { topic, confirmed, .. } = wanted.hold("a".into());
        let mut waits = pin!(confirmed.wait());
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        wanted.confirm([&topic], false);
        assert!(futures_util::poll!(waits.as_mut()).is_pending());
        wanted.confirm([&topic], true);
        assert!(futures_util::poll!(waits.as_mut()).is_ready());
        deadline(confirmed.wait()).await;
    }
}
