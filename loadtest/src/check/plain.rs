//! Were the channels without a log right? They keep their history in Redis, and Redis may lose it.
//!
//! So the promise is made within an epoch: one order without gaps, the same for everyone, nothing
//! twice, and what was acknowledged is there as long as the history reaches. A new epoch is right
//! only when Redis lost what it had. Pure, like the checker of rooms.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::{Glimpse, Name};

/// Everything that was written down.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// What was acknowledged.
    pub acks: Vec<Ack>,
    /// By channel and client, in order: stretches that the server promised to be without a gap.
    pub views: BTreeMap<(Name, Name), Vec<Stay>>,
    /// Each channel's history at the end, as each node has it.
    pub ends: BTreeMap<Name, Vec<End>>,
    /// How often Redis lost everything.
    pub losses: usize,
    /// How many publications a channel keeps: who missed fewer is recovered.
    pub kept: u64,
}

/// The server said where a message is.
#[derive(Debug, Clone)]
pub struct Ack {
    /// Where it was said.
    pub channel: Name,
    /// By whom.
    pub client: Name,
    /// In which life of the channel it is,
    pub epoch: String,
    /// at which place.
    pub offset: u64,
    /// Of its data, which no other message has.
    pub print: u64,
}

/// A stretch without a gap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stay {
    /// The life of the offsets.
    pub epoch: String,
    /// Events from the next one on are due.
    pub after: u64,
    /// What came, in the order of arrival.
    pub seen: Vec<Glimpse>,
}

/// A channel at the end, as one node has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// The life it is in.
    pub epoch: String,
    /// The newest offset.
    pub head: u64,
    /// What is kept, oldest first.
    pub kept: Vec<Glimpse>,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where,
    pub channel: Name,
    /// with whom, if with somebody,
    pub client: Option<Name>,
    /// in which life and at which place.
    pub epoch: String,
    pub offset: u64,
    /// What.
    pub what: What,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// After this offset another one was due.
    Gap { after: u64 },
    /// In the same life the client was put to a later place, though what it missed was kept.
    NotRecovered { after: u64 },
    /// Somebody else saw something else there.
    Other,
    /// The same message stands at another place too.
    Twice { epoch: String, offset: u64 },
    /// The place was acknowledged for something that is not there.
    AcknowledgedOther,
    /// The place was acknowledged, the channel is not that long, or does not have it any more.
    AcknowledgedMissing,
    /// The client stayed until the end and did not see all.
    Behind { head: u64 },
    /// The client stayed in another life than the channel is in.
    OtherEpoch { now: String },
    /// The nodes do not agree on it.
    NodesDiffer { node: usize },
    /// There were more lives than Redis had losses.
    Epochs { lives: usize, losses: usize },
}

/// What stands where, and where what stands, in one channel.
#[derive(Default)]
struct Known<'a> {
    at: HashMap<(&'a str, u64), u64>,
    of: HashMap<u64, (&'a str, u64)>,
}

impl Run {
    /// Everything that is wrong; empty when nothing is.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut known: HashMap<&Name, Known<'_>> = HashMap::new();
        for (channel, ends) in &self.ends {
            let place = known.entry(channel).or_default();
            check_ends(channel, ends, place, &mut faults);
        }
        for ((channel, client), stays) in &self.views {
            let place = known.entry(channel).or_default();
            for stay in stays {
                check_stay(channel, client, stay, place, &mut faults);
            }
            for pair in stays.windows(2) {
                let missed = pair[1].missed_since(&pair[0]).filter(|missed| *missed <= self.kept);
                if let Some(after) = missed.map(|_| pair[0].last()) {
                    let (stay, what) = (&pair[1], What::NotRecovered { after });
                    faults.push(Fault::new(channel, Some(client), &stay.epoch, stay.after, what));
                }
            }
            if let (Some(stay), Some(end)) = (stays.last(), self.end(channel)) {
                faults.extend(stay.check_end(channel, client, end));
            }
        }
        self.check_epochs(&mut faults);
        self.check_acks(&mut known, &mut faults);
        faults
    }

    fn end(&self, channel: &Name) -> Option<&End> {
        self.ends.get(channel)?.first()
    }

    fn check_epochs(&self, faults: &mut Vec<Fault>) {
        let mut lives: BTreeMap<&Name, BTreeSet<&str>> = BTreeMap::new();
        for ((channel, _), stays) in &self.views {
            lives.entry(channel).or_default().extend(stays.iter().map(|stay| &*stay.epoch));
        }
        for (channel, lives) in lives.into_iter().filter(|(_, lives)| lives.len() > 1) {
            let (lives, losses) = (lives.len(), self.losses);
            if lives > losses + 1 {
                let epoch = self.end(channel).map_or("", |end| &end.epoch);
                let what = What::Epochs { lives, losses };
                faults.push(Fault::new(channel, None, epoch, 0, what));
            }
        }
    }

    fn check_acks<'a>(&'a self, known: &mut HashMap<&'a Name, Known<'a>>, faults: &mut Vec<Fault>) {
        for ack in &self.acks {
            let Ack { channel, client, epoch, offset, print } = ack;
            let mut fault = |what| {
                faults.push(Fault::new(channel, Some(client), epoch, *offset, what));
            };
            // What nobody saw before is known from here on: nobody else may be told the place.
            let place = known.entry(channel).or_default();
            if *place.at.entry((epoch, *offset)).or_insert(*print) != *print {
                fault(What::AcknowledgedOther);
            } else if place.of.entry(*print).or_insert((epoch, *offset)) != &(&**epoch, *offset) {
                let (epoch, offset) = place.of[print];
                fault(What::Twice { epoch: epoch.to_owned(), offset });
            }
            if self.end(channel).is_some_and(|end| end.epoch == *epoch && !end.has(ack)) {
                fault(What::AcknowledgedMissing);
            }
        }
    }
}

/// The nodes have the same, and nothing twice.
fn check_ends<'a>(channel: &Name, ends: &'a [End], known: &mut Known<'a>, faults: &mut Vec<Fault>) {
    let Some(first) = ends.first() else { return };
    for (node, end) in ends.iter().enumerate().filter(|(_, end)| *end != first) {
        let what = What::NodesDiffer { node };
        faults.push(Fault::new(channel, None, &end.epoch, end.head, what));
    }
    for glimpse in &first.kept {
        known.take(channel, None, &first.epoch, *glimpse, faults);
    }
}

/// Within an epoch each offset follows the one before, and everyone sees the same there.
fn check_stay<'a>(
    channel: &Name,
    client: &Name,
    stay: &'a Stay,
    known: &mut Known<'a>,
    faults: &mut Vec<Fault>,
) {
    let mut last = stay.after;
    for glimpse in &stay.seen {
        if glimpse.offset != last + 1 {
            let what = What::Gap { after: last };
            faults.push(Fault::new(channel, Some(client), &stay.epoch, glimpse.offset, what));
        }
        last = last.max(glimpse.offset);
        known.take(channel, Some(client), &stay.epoch, *glimpse, faults);
    }
}

impl<'a> Known<'a> {
    fn take(
        &mut self,
        channel: &Name,
        client: Option<&Name>,
        epoch: &'a str,
        Glimpse { offset, print }: Glimpse,
        faults: &mut Vec<Fault>,
    ) {
        if *self.at.entry((epoch, offset)).or_insert(print) != print {
            faults.push(Fault::new(channel, client, epoch, offset, What::Other));
        }
        let first = *self.of.entry(print).or_insert((epoch, offset));
        if first != (epoch, offset) {
            let what = What::Twice { epoch: first.0.to_owned(), offset: first.1 };
            faults.push(Fault::new(channel, client, epoch, offset, what));
        }
    }
}

impl Stay {
    /// The last offset that was seen, or where it began.
    fn last(&self) -> u64 {
        self.seen.last().map_or(self.after, |glimpse| glimpse.offset)
    }

    /// How much lies between the end of one before and this one, in the same life.
    fn missed_since(&self, before: &Self) -> Option<u64> {
        (self.epoch == before.epoch).then(|| self.after.saturating_sub(before.last()))
    }

    fn check_end(&self, channel: &Name, client: &Name, end: &End) -> Option<Fault> {
        let last = self.last();
        let what = if self.epoch != end.epoch {
            What::OtherEpoch { now: end.epoch.clone() }
        } else if last < end.head {
            What::Behind { head: end.head }
        } else {
            return None;
        };
        Some(Fault::new(channel, Some(client), &self.epoch, last, what))
    }
}

impl End {
    /// Whether what was acknowledged in this life is there, as far as is kept.
    fn has(&self, ack: &Ack) -> bool {
        let first = self.kept.first().map_or(self.head + 1, |oldest| oldest.offset);
        let is_it = |glimpse: &Glimpse| (glimpse.offset, glimpse.print) == (ack.offset, ack.print);
        ack.offset <= self.head && (ack.offset < first || self.kept.iter().any(is_it))
    }
}

impl Fault {
    fn new(channel: &Name, client: Option<&Name>, epoch: &str, offset: u64, what: What) -> Self {
        let (channel, client) = (channel.clone(), client.cloned());
        Self { channel, client, epoch: epoch.to_owned(), offset, what }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel {}", self.channel)?;
        if let Some(client) = &self.client {
            write!(f, ", client {client}")?;
        }
        write!(f, ", epoch {}, offset {}: {}", self.epoch, self.offset, self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { after } => write!(f, "came after {after}"),
            Self::NotRecovered { after } => {
                write!(f, "put there from {after}, though all between was kept")
            }
            Self::Other => f.write_str("somebody else saw something else there"),
            Self::Twice { epoch, offset } => {
                write!(f, "the message stands at {offset} of {epoch} too")
            }
            Self::AcknowledgedOther => f.write_str("acknowledged, and something else is there"),
            Self::AcknowledgedMissing => f.write_str("acknowledged, and not there"),
            Self::Behind { head } => write!(f, "the last that was seen, of {head}"),
            Self::OtherEpoch { now } => write!(f, "the channel is in epoch {now}"),
            Self::NodesDiffer { node } => write!(f, "node {node} has another history than node 0"),
            Self::Epochs { lives, losses } => {
                write!(f, "{lives} epochs, and Redis lost what it had {losses} times")
            }
        }
    }
}

#[cfg(test)]
mod tests;
