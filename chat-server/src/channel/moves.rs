//! Who came into channels of this node and who left, until everybody who must know does.
//!
//! Three lists, each bounded by the subscriptions of this node: *marks*, what has changed and is
//! not known to the other nodes; *holds*, clients whose connection broke and who may come back;
//! *crowds*, channels too large to tell each move, whose numbers are to be told.
//!
//! A mark is a wish, not a message: somebody who comes and goes before anybody took the mark leaves
//! none, and one that could not be written waits and changes with what happens meanwhile.
//!
//! Lock order: the state of a channel first, then this. Nothing in here locks a channel while it
//! holds its own lock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::Channel;
use crate::protocol::ClientInfo;

/// How long somebody whose connection broke may take to come back unnoticed.
pub const HOLD: Duration = Duration::from_secs(5);

/// Clients that are waited for at a time: a node's connections, each with two channels. Further
/// ones are gone at once.
const HOLDS_MAX: usize = 200_000;

/// Moves of this node in channels.
#[derive(Debug)]
pub struct Moves {
    /// Other nodes are told.
    shared: bool,
    state: Mutex<State>,
    /// There are marks.
    marked: Notify,
    /// There is a first hold.
    held: Notify,
    /// How many times all marks were taken and dealt with.
    settled: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    marks: HashMap<Key, Mark>,
    /// How many times the marks were taken.
    taken: u64,
    /// What the other nodes knew is not known, of anybody.
    doubted: bool,
    /// In the order of their ends.
    holds: VecDeque<Hold>,
    crowds: HashMap<Arc<str>, Crowded>,
}

/// A channel and a client.
type Key = (Arc<str>, Arc<str>);

/// What the other nodes are to know of one client in one channel.
#[derive(Debug, Clone)]
pub struct Mark {
    /// Where.
    pub channel: Arc<Channel>,
    /// Who.
    pub info: Arc<ClientInfo>,
    /// Whether it is there.
    pub here: bool,
    /// What they knew before.
    pub known: Known,
    /// Whom to tell of it.
    pub tell: Tell,
}

/// What the other nodes know of one client in one channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// One or the other: what was written got lost, or arrived unanswered.
    Unknown,
}

/// Whether those in the channel are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// They are.
    Always,
    /// If it is news: who was removed by others is told to be there again.
    News,
    /// They know.
    Never,
}

/// A client that is waited for.
#[derive(Debug)]
struct Hold {
    until: Instant,
    channel: Arc<Channel>,
    info: Arc<ClientInfo>,
}

/// A channel whose numbers are to be told.
#[derive(Debug, Clone)]
pub struct Crowded {
    /// Which one.
    pub channel: Arc<Channel>,
    /// They changed on this node, which tells the others.
    pub here: bool,
}

impl Moves {
    /// None yet; `shared` when there are other nodes to be told.
    #[must_use]
    pub fn new(shared: bool) -> Arc<Self> {
        Arc::new(Self {
            shared,
            state: Mutex::default(),
            marked: Notify::new(),
            held: Notify::new(),
            settled: watch::Sender::new(0),
        })
    }

    /// A client came into a channel, or left it.
    pub(super) fn mark(&self, channel: &Arc<Channel>, info: &Arc<ClientInfo>, here: bool) {
        if !self.shared {
            return;
        }
        let (channel, info) = (channel.clone(), info.clone());
        let mut state = self.state.lock();
        let known = match here {
            _ if state.doubted => Known::Unknown,
            true => Known::Absent,
            false => Known::Present,
        };
        let mark = Mark { channel, info, here, known, tell: Tell::Always };
        match state.marks.entry(mark.key()) {
            Entry::Vacant(place) => drop(place.insert(mark)),
            Entry::Occupied(mut place) => {
                let before = place.get_mut();
                before.here = here;
                match (here, before.known) {
                    (true, Known::Present) | (false, Known::Absent) => drop(place.remove()),
                    (true, _) => {}
                    (false, _) => before.tell = Tell::Always,
                }
            }
        }
        drop(state);
        self.marked.notify_one();
    }

    /// What the other nodes knew is not known from here on, until [`Moves::believe`]:
    /// everyone who is there is marked once more meanwhile. Who leaves before that and comes back
    /// after it is there all the same.
    pub fn doubt(&self) {
        let mut state = self.state.lock();
        state.doubted = true;
        state.marks.values_mut().for_each(|mark| mark.known = Known::Unknown);
    }

    /// Everyone was marked who was there.
    pub fn believe(&self) {
        self.state.lock().doubted = false;
    }

    /// Marks somebody who is there once more: what was written is no longer there, perhaps.
    pub fn mark_again(&self, channel: &Arc<Channel>, info: Arc<ClientInfo>, tell: Tell) {
        let (channel, known) = (channel.clone(), Known::Unknown);
        let mark = Mark { channel, info, here: true, known, tell };
        // A mark that is there knows better: it is of something that happened since.
        self.state.lock().marks.entry(mark.key()).or_insert(mark).known = known;
        self.marked.notify_one();
    }

    /// Waits until there are marks.
    pub async fn marked(&self) {
        loop {
            let marked = self.marked.notified();
            if !self.state.lock().marks.is_empty() {
                return;
            }
            marked.await;
        }
    }

    /// Takes all marks; what is not put back is known to the other nodes. [`Moves::settle`]
    /// follows.
    #[must_use]
    pub fn take(&self) -> Vec<Mark> {
        let mut state = self.state.lock();
        state.taken += 1;
        std::mem::take(&mut state.marks).into_values().collect()
    }

    /// The channels where there are marks.
    #[must_use]
    pub fn marked_channels(&self) -> HashSet<Arc<str>> {
        self.state.lock().marks.keys().map(|(channel, _)| channel.clone()).collect()
    }

    /// Puts a mark back that was taken: whether the others know is not known.
    pub fn put_back(&self, mark: Mark) {
        self.state.lock().marks.entry(mark.key()).or_insert(mark).known = Known::Unknown;
    }

    /// What was taken is dealt with.
    pub fn settle(&self) {
        let taken = self.state.lock().taken;
        self.settled.send_replace(taken);
    }

    /// Waits until the others were told of everything that has happened; false when that takes
    /// longer than `most`.
    pub async fn are_settled(&self, most: Duration) -> bool {
        let (wanted, mut settled) = {
            let state = self.state.lock();
            let later = u64::from(!state.marks.is_empty());
            (state.taken + later, self.settled.subscribe())
        };
        let all = settled.wait_for(|settled| *settled >= wanted);
        timeout(most, all).await.is_ok_and(|settled| settled.is_ok()) && !self.is_behind()
    }

    fn is_behind(&self) -> bool {
        // What was put back is not settled, whatever came of the rest.
        self.state.lock().marks.values().any(|mark| mark.known == Known::Unknown)
    }

    /// Waits for a client whose connection broke; false when too many are waited for.
    pub(super) fn hold(&self, channel: &Arc<Channel>, info: &Arc<ClientInfo>) -> bool {
        let mut state = self.state.lock();
        if state.holds.len() >= HOLDS_MAX {
            return false;
        }
        let (until, channel, info) = (Instant::now() + HOLD, channel.clone(), info.clone());
        state.holds.push_back(Hold { until, channel, info });
        self.held.notify_one();
        true
    }

    /// Lets those go who did not come back in time, for ever. Who is waited for when that ends
    /// stays on the list that nodes share, until the lease of this one is over.
    pub async fn release(&self) {
        loop {
            let held = self.held.notified();
            let next = self.state.lock().holds.front().map(|hold| hold.until);
            match next {
                Some(until) => sleep_until(until).await,
                None => held.await,
            }
            while let Some(Hold { channel, info, .. }) = self.over(Instant::now()) {
                channel.give_up(&info);
            }
        }
    }

    fn over(&self, now: Instant) -> Option<Hold> {
        let mut state = self.state.lock();
        state.holds.pop_front_if(|hold| hold.until <= now)
    }

    /// The numbers of a channel changed that is too large to tell each move.
    pub fn crowd(&self, crowded: Crowded) {
        let mut state = self.state.lock();
        let name = crowded.channel.name().clone();
        let here = crowded.here;
        state.crowds.entry(name).or_insert(crowded).here |= here;
    }

    /// Takes all of those.
    #[must_use]
    pub fn crowds(&self) -> Vec<Crowded> {
        std::mem::take(&mut self.state.lock().crowds).into_values().collect()
    }
}

impl Mark {
    fn key(&self) -> Key {
        (self.channel.name().clone(), self.info.client.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{channel, hub};
    use super::*;

    fn wishes(moves: &Moves) -> Vec<(bool, Known)> {
        moves.take().iter().map(|mark| (mark.here, mark.known)).collect()
    }

    #[tokio::test]
    async fn who_comes_and_goes_unnoticed_leaves_no_mark() {
        let (moves, channel, ann) = (Moves::new(true), channel(&hub(), "lobby"), Arc::default());
        moves.mark(&channel, &ann, true);
        moves.mark(&channel, &ann, false);
        assert_eq!(wishes(&moves), []);
        moves.mark(&channel, &ann, false);
        moves.mark(&channel, &ann, true);
        assert_eq!(wishes(&moves), [], "the others know that");
    }

    #[tokio::test]
    async fn who_is_away_for_a_moment_while_others_forget_is_told_again() {
        let (moves, channel, ann) = (Moves::new(true), channel(&hub(), "lobby"), Arc::default());
        let there = [(true, Known::Unknown)];
        // Gone before the others are doubted, or meanwhile; nobody who is looked for.
        for is_before in [true, false] {
            if is_before {
                moves.mark(&channel, &ann, false);
            }
            moves.doubt();
            if !is_before {
                moves.mark(&channel, &ann, false);
            }
            moves.believe();
            moves.mark(&channel, &ann, true);
            assert_eq!(wishes(&moves), there);
        }
    }
}
