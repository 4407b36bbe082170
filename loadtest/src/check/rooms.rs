//! Were the rooms right? What clients sent, were answered and saw, against the log.
//!
//! [`Run`] is what was written down; [`Run::faults`] compares. Pure: no server, no clock, so the
//! checker is itself tested on runs that are made up and then broken in one place. What clients saw
//! is kept as offset and fingerprint, for they see millions of events.
//!
//! ```text
//! the log of a room    1, 2 .. head without hole, each sent message once and nothing else
//! what was sent        acknowledged, always with the same offset and id, and the log agrees
//! what a client saw    each event behind its first position once, in order, as the log has it
//! ```

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

pub use super::print::{Glimpse, Name, print};

/// Everything that was written down.
#[derive(Debug, Clone, Default)]
pub struct Run {
    pub sent: Vec<Sent>,
    pub acks: Vec<Ack>,
    /// By room and client.
    pub views: BTreeMap<(Name, Name), View>,
    pub logs: BTreeMap<Name, Log>,
}

/// A message that a client wanted in a room; repeats are not written down.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Where.
    pub room: Name,
    /// Who.
    pub client: Name,
    /// Its key, the same when it is repeated.
    pub idem: String,
}

/// The server said where it is; every time it said so.
#[derive(Debug, Clone)]
pub struct Ack {
    pub room: Name,
    pub client: Name,
    pub idem: String,
    pub offset: u64,
    pub id: String,
}

/// What one client saw in one room, live and recovered, in the order of arrival.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The offset it stood at when it came first: events from the next one on are due.
    pub after: u64,
    /// What came.
    pub seen: Vec<Glimpse>,
}

/// A room's log as the store has it at the end.
#[derive(Debug, Clone, Default)]
pub struct Log {
    /// The newest offset as the store says.
    pub head: u64,
    pub events: Vec<Event>,
}

/// One event of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub offset: u64,
    /// Empty for events that have none.
    pub id: String,
    /// Of messages.
    pub idem: Option<String>,
    /// The whole of it, byte by byte as clients get it.
    pub content: String,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub room: Name,
    /// Whom it concerns; nobody in particular when the log itself is wrong.
    pub client: Option<Name>,
    /// Where; unknown for a message that is nowhere.
    pub offset: Option<u64>,
    pub what: What,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The log has nothing there.
    Hole,
    /// The log goes back, or has the offset twice.
    LogOrder,
    /// The log has the message at another offset too.
    LoggedTwice { first: u64 },
    /// The log has a message that nobody sent.
    NobodySent,
    /// The client never learned what became of its message.
    NotAcknowledged,
    /// The client was told another offset or id for the same message before.
    AcknowledgedTwice { first: u64 },
    /// The client was told that a message it did not send is there.
    AcknowledgedUnsent,
    /// The log does not have the message that was acknowledged.
    AcknowledgedMissing,
    /// The log has another message there.
    AcknowledgedOther,
    /// The client saw the offset before.
    SeenTwice,
    /// The client saw a later one before.
    SeenOutOfOrder { after: u64 },
    /// The client never saw it.
    NotSeen,
    /// The client saw something that the log does not have.
    NotInLog,
    /// The client saw something else there than the log has.
    SeenOther,
}

impl Run {
    /// Everything that is wrong; empty when nothing is.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (room, log) in &self.logs {
            self.check_log(room, log, &mut faults);
        }
        self.check_acks(&mut faults);
        let known = self.logs.iter().map(|(room, log)| (room, log.prints()));
        let (known, nothing): (HashMap<_, _>, _) = (known.collect(), BTreeMap::new());
        for ((room, client), view) in &self.views {
            let known = known.get(room).unwrap_or(&nothing);
            let fault = |offset, what| Fault {
                room: room.clone(),
                client: Some(client.clone()),
                offset: Some(offset),
                what,
            };
            faults.extend(view.check(known).into_iter().map(|(offset, what)| fault(offset, what)));
        }
        faults
    }

    fn check_log(&self, room: &Name, log: &Log, faults: &mut Vec<Fault>) {
        let mut fault = |offset, what| {
            faults.push(Fault { room: room.clone(), client: None, offset: Some(offset), what });
        };
        let sent = self.sent.iter().filter(|sent| sent.room == *room);
        let sent: HashSet<&str> = sent.map(|sent| sent.idem.as_str()).collect();
        let mut logged = HashMap::new();
        let mut next = 1;
        for event in &log.events {
            if event.offset < next {
                fault(event.offset, What::LogOrder);
            }
            (next..event.offset).for_each(|offset| fault(offset, What::Hole));
            next = next.max(event.offset + 1);
            let Some(idem) = &event.idem else { continue };
            if !sent.contains(idem.as_str()) {
                fault(event.offset, What::NobodySent);
            }
            if let Some(first) = logged.insert(idem, event.offset) {
                fault(event.offset, What::LoggedTwice { first });
            }
        }
        (next..=log.head).for_each(|offset| fault(offset, What::Hole));
    }

    fn check_acks(&self, faults: &mut Vec<Fault>) {
        let mut known: HashMap<_, _> = HashMap::new();
        for sent in &self.sent {
            known.insert((&sent.room, &sent.client, sent.idem.as_str()), None);
        }
        for ack in &self.acks {
            let Ack { room, client, idem, offset, id } = ack;
            let mut fault = |what| {
                let (room, client) = (room.clone(), Some(client.clone()));
                faults.push(Fault { room, client, offset: Some(*offset), what });
            };
            match known.get_mut(&(room, client, idem.as_str())) {
                None => fault(What::AcknowledgedUnsent),
                Some(first @ None) => *first = Some((*offset, id)),
                Some(Some(first)) if *first == (*offset, id) => continue,
                Some(Some((first, _))) => fault(What::AcknowledgedTwice { first: *first }),
            }
            match self.logs.get(room).and_then(|log| log.at(*offset)) {
                None => fault(What::AcknowledgedMissing),
                Some(event) if event.id != *id || event.idem.as_ref() != Some(idem) => {
                    fault(What::AcknowledgedOther);
                }
                Some(_) => {}
            }
        }
        let unknown = known.into_iter().filter(|(_, ack)| ack.is_none());
        for ((room, client, idem), _) in unknown {
            let events = self.logs.get(room).map_or(&[][..], |log| &log.events);
            let logged = events.iter().find(|event| event.idem.as_deref() == Some(idem));
            let offset = logged.map(|event| event.offset);
            let (room, client) = (room.clone(), Some(client.clone()));
            faults.push(Fault { room, client, offset, what: What::NotAcknowledged });
        }
    }
}

impl Log {
    /// The event with this offset; logs are in order or found wrong elsewhere.
    fn at(&self, offset: u64) -> Option<&Event> {
        let place = self.events.binary_search_by_key(&offset, |event| event.offset);
        place.ok().map(|place| &self.events[place])
    }

    /// The fingerprint of each event, by offset.
    fn prints(&self) -> BTreeMap<u64, u64> {
        let glimpses = self.events.iter().map(Event::glimpse);
        glimpses.map(|glimpse| (glimpse.offset, glimpse.print)).collect()
    }
}

impl Event {
    /// What a client keeps of it.
    #[must_use]
    pub fn glimpse(&self) -> Glimpse {
        Glimpse { offset: self.offset, print: print(&self.content) }
    }
}

impl View {
    fn check(&self, known: &BTreeMap<u64, u64>) -> Vec<(u64, What)> {
        let mut faults = Vec::new();
        let mut seen = HashSet::new();
        let mut last = self.after;
        for event in &self.seen {
            if !seen.insert(event.offset) {
                faults.push((event.offset, What::SeenTwice));
            } else if event.offset <= last {
                faults.push((event.offset, What::SeenOutOfOrder { after: last }));
            }
            last = last.max(event.offset);
            match known.get(&event.offset) {
                None => faults.push((event.offset, What::NotInLog)),
                Some(logged) if *logged != event.print => {
                    faults.push((event.offset, What::SeenOther));
                }
                Some(_) => {}
            }
        }
        let due = known.range(self.after.saturating_add(1)..).map(|(&due, _)| due);
        faults.extend(due.filter(|due| !seen.contains(due)).map(|due| (due, What::NotSeen)));
        faults
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "room {}", self.room)?;
        if let Some(client) = &self.client {
            write!(f, ", client {client}")?;
        }
        if let Some(offset) = self.offset {
            write!(f, ", offset {offset}")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hole => f.write_str("the log has a hole"),
            Self::LogOrder => f.write_str("the log has the offset twice or goes back"),
            Self::LoggedTwice { first } => write!(f, "the log has the message at {first} too"),
            Self::NobodySent => f.write_str("the log has a message that nobody sent"),
            Self::NotAcknowledged => f.write_str("never acknowledged"),
            Self::AcknowledgedTwice { first } => write!(f, "acknowledged at {first} before"),
            Self::AcknowledgedUnsent => f.write_str("acknowledged without having been sent"),
            Self::AcknowledgedMissing => f.write_str("acknowledged, and the log does not have it"),
            Self::AcknowledgedOther => f.write_str("acknowledged, and the log has another there"),
            Self::SeenTwice => f.write_str("seen twice"),
            Self::SeenOutOfOrder { after } => write!(f, "seen after {after}"),
            Self::NotSeen => f.write_str("not seen"),
            Self::NotInLog => f.write_str("seen, and the log does not have it"),
            Self::SeenOther => f.write_str("seen with other content than the log has"),
        }
    }
}
