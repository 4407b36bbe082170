//! Which topics are to be listened to, and which are.
//!
//! A topic is wanted while somebody holds it. Whether it is listened to is known to each of them;
//! who listens asks here what to begin and what to end.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Topics by their names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    /// A lock, for it is held as long as a look into a table takes.
    topics: Mutex<HashMap<Arc<str>, Want>>,
}

#[derive(Debug)]
struct Want {
    holders: usize,
    confirmed: watch::Sender<bool>,
}

impl Wanted {
    /// One more holder; true when it is the first.
    pub(super) fn hold(&self, topic: &Arc<str>) -> (bool, watch::Receiver<bool>) {
        let mut topics = self.topics.lock();
        let want = topics
            .entry(topic.clone())
            .or_insert_with(|| Want { holders: 0, confirmed: watch::Sender::new(false) });
        want.holders += 1;
        (want.holders == 1, want.confirmed.subscribe())
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
            want.confirmed.send_replace(confirmed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_wanted_while_somebody_holds_it() {
        let (wanted, topic) = (Wanted::default(), Arc::from("a"));
        let (is_first, confirmed) = wanted.hold(&topic);
        assert!(is_first && !*confirmed.borrow());
        assert!(!wanted.hold(&topic).0);
        wanted.confirm([&topic], true);
        assert!(*confirmed.borrow());
        assert!(!wanted.release(&topic) && wanted.is_held(&topic));
        assert!(wanted.release(&topic) && !wanted.is_held(&topic));
        // Held again it is not listened to, whatever was before.
        assert!(!*wanted.hold(&topic).1.borrow());
    }
}
