//! What all clients of a run share: doors, clock, figures, and who is where.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chassis::testing::Issuer;
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::check::Name;
use crate::check::client::{Kind, Person};
use crate::check::figures::{Figures, Weather};

/// Signs every token of a run. The servers are made for the run and gone with it.
pub const SECRET: &str = "a secret that only the servers of a load test know";

/// Tokens outlive every run and every jump of a clock.
const TOKEN_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// What is shared.
#[derive(Debug)]
pub struct World {
    /// The start of everything.
    pub started: Instant,
    /// The start of the load, once everyone is there.
    begun: OnceLock<Instant>,
    /// Where clients connect, by node.
    pub doors: Vec<SocketAddr>,
    /// What is measured.
    pub figures: Figures,
    /// Whether something is broken at the moment.
    pub weather: Weather,
    /// Who is where.
    pub truth: Truth,
    /// How long clients go on.
    pub goal: watch::Sender<Goal>,
    /// How many messages were acknowledged, or refused for good.
    pub said: watch::Sender<usize>,
}

/// How long clients go on.
#[derive(Debug, Clone, Default)]
pub enum Goal {
    /// Without an end in sight.
    #[default]
    GoOn,
    /// Until everything up to these heads was seen: epoch and offset by channel.
    Reach(Arc<HashMap<Name, (String, u64)>>),
    /// No longer.
    Over,
}

/// Which connections are subscribed to which channel, as the clients know it.
#[derive(Debug, Default)]
pub struct Truth {
    // Changed by a client, read by the judge: a few words each time.
    channels: Mutex<BTreeMap<Name, BTreeSet<Name>>>,
    // Written twice for each connection, read when one is where it should not be.
    traces: Mutex<HashMap<Name, Trace>>,
}

/// A connection that was made.
#[derive(Debug, Clone)]
struct Trace {
    who: Name,
    node: usize,
    from: Duration,
    to: Option<Duration>,
}

impl World {
    /// A world whose clock starts now.
    #[must_use]
    pub fn new(doors: Vec<SocketAddr>) -> Self {
        Self {
            started: Instant::now(),
            begun: OnceLock::new(),
            figures: Figures::new(doors.len()),
            doors,
            weather: Weather::default(),
            truth: Truth::default(),
            goal: watch::Sender::default(),
            said: watch::Sender::new(0),
        }
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Messages are said from now on.
    pub fn begin(&self) {
        self.begun.get_or_init(Instant::now);
        // Nothing changes but that everyone looks again.
        self.goal.send_replace(Goal::GoOn);
    }

    /// When something is due that is due so long after the start of the load, if that has begun.
    #[must_use]
    pub fn when(&self, due: Duration) -> Option<Instant> {
        self.begun.get().map(|begun| *begun + due)
    }

    /// A token for somebody.
    #[must_use]
    pub fn token(&self, user: &str) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let claims = json!({ "sub": user, "exp": (now + TOKEN_LIFE).as_secs() });
        Issuer::hs256(SECRET.as_bytes()).token(&claims)
    }

    /// A message was acknowledged that was said first at that time.
    pub fn acknowledged(&self, begun: Option<(Duration, usize)>, kind: Kind) {
        let (now, begun) = (self.elapsed(), begun.map_or(Duration::ZERO, |(at, _)| at));
        let calm = self.weather.was_calm_since(begun);
        self.figures.acknowledged(kind, calm, now.saturating_sub(begun));
        self.said.send_modify(|said| *said += 1);
    }

    /// A message was refused for good.
    pub fn given_up(&self) {
        self.said.send_modify(|said| *said += 1);
    }

    /// An event came live at a client of a node.
    pub fn delivered(&self, data: &str, node: usize, kind: Kind) {
        let Some((from, begun)) = stamp(data) else { return self.figures.seen() };
        let calm = self.weather.was_calm_since(begun);
        let took = self.elapsed().saturating_sub(begun);
        self.figures.delivered(kind, calm, from != node, took);
    }
}

impl Goal {
    /// Whether a client may go.
    #[must_use]
    pub fn lets_go(&self, person: &Person) -> bool {
        match self {
            Self::GoOn => false,
            Self::Reach(heads) => person.is_done(heads),
            Self::Over => true,
        }
    }

    /// Whether everyone has to go.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Over)
    }
}

impl Truth {
    /// A connection is made.
    pub fn connect(&self, client: &Name, who: &Name, node: usize, from: Duration) {
        let trace = Trace { who: who.clone(), node, from, to: None };
        self.traces.lock().insert(client.clone(), trace);
    }

    /// Whose connection it is or was, for people.
    #[must_use]
    pub fn trace(&self, client: &Name) -> String {
        match self.traces.lock().get(client) {
            None => format!("{client}, which is unknown"),
            Some(Trace { who, node, from, to }) => {
                let to = to.map_or("now".to_owned(), |to| format!("{:.1} s", to.as_secs_f64()));
                let from = from.as_secs_f64();
                format!("{client} of {who}, at node {node} from {from:.1} s to {to}")
            }
        }
    }

    /// A connection subscribed.
    pub fn enter(&self, channel: &Name, client: &Name) {
        self.channels.lock().entry(channel.clone()).or_default().insert(client.clone());
    }

    /// A subscription ended.
    pub fn leave_one(&self, channel: &Name, client: &Name) {
        if let Some(clients) = self.channels.lock().get_mut(channel) {
            clients.remove(client);
        }
    }

    /// A connection ended.
    pub fn leave(&self, client: &Name, at: Duration) {
        if let Some(trace) = self.traces.lock().get_mut(client) {
            trace.to = Some(at);
        }
        for clients in self.channels.lock().values_mut() {
            clients.remove(client);
        }
    }

    /// Who is in a channel.
    #[must_use]
    pub fn of(&self, channel: &Name) -> BTreeSet<Name> {
        self.channels.lock().get(channel).cloned().unwrap_or_default()
    }

    /// All subscriptions there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.channels.lock().values().map(BTreeSet::len).sum()
    }
}

/// The node and the time in the body of one of our messages: `n<node>@<microseconds>`.
fn stamp(data: &str) -> Option<(usize, Duration)> {
    let (before, behind) = data.split_once('@')?;
    let node = before.rsplit_once('n')?.1.parse().ok()?;
    let digits = behind.split(|character: char| !character.is_ascii_digit()).next()?;
    Some((node, Duration::from_micros(digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_where_and_when_it_was_said_first() {
        let data = r#"{"body":"c1 says number 7 n2@1500","idem":"x"}"#;
        assert_eq!(stamp(data), Some((2, Duration::from_micros(1500))));
        assert_eq!(stamp(r#"{"type":"member"}"#), None);
    }

    #[test]
    fn truth_follows_who_comes_and_goes() {
        let truth = Truth::default();
        let (one, other): (Name, Name) = ("one".into(), "other".into());
        let (ann, bob): (Name, Name) = ("ann".into(), "bob".into());
        for (channel, client) in [(&one, &ann), (&one, &bob), (&other, &ann)] {
            truth.enter(channel, client);
        }
        truth.leave_one(&one, &bob);
        assert_eq!((truth.of(&one).len(), truth.count()), (1, 2));
        truth.connect(&ann, &"c1".into(), 2, Duration::from_secs(1));
        assert_eq!(truth.trace(&ann), "ann of c1, at node 2 from 1.0 s to now");
        truth.leave(&ann, Duration::from_secs(3));
        assert_eq!((truth.of(&one).len(), truth.count()), (0, 0));
        assert_eq!(truth.trace(&ann), "ann of c1, at node 2 from 1.0 s to 3.0 s");
    }
}
