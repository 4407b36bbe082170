//! What changed on this node is written, and told.
//!
//! All marks are taken at once and written channel by channel, joins before leaves, so that who
//! changed connections is never absent. What was not written is put back. While something is
//! written marks gather, so a rush of thousands takes few turns.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use chassis::redis::Error;
use futures_util::StreamExt;
use futures_util::stream;
use hashbrown::HashMap;
use rand::RngExt;
use tokio::time::sleep;
use uuid::Uuid;

use super::table::{CHANNELS_MAX, Change, Entries, Table, WRITE_MAX};
use super::{AT_ONCE, Presence};
use crate::channel::{Channel, Crowded, Known, Mark, Tell};
use crate::fanout::bus::{Message, Topic};
use crate::nodes::Cause;

/// Between two turns: what happens meanwhile is written together.
const PAUSE: Duration = Duration::from_millis(20);

/// Before what failed is tried again, at most; nodes do not all come at once.
const RETRY_MAX: Duration = Duration::from_millis(400);

/// All marks of one channel.
type Group = Vec<Mark>;

/// What this node has in the table.
#[derive(Debug)]
struct Own {
    incarnation: Uuid,
    /// The channels where it has entries.
    channels: HashSet<Arc<str>>,
}

impl Presence {
    /// Writes what changes, for ever.
    pub(super) async fn flush(&self, table: &Table) {
        let moves = self.hub.moves();
        let mut registration = table.nodes().registration();
        let mut own = Own {
            incarnation: registration.borrow_and_update().incarnation,
            channels: HashSet::new(),
        };
        loop {
            tokio::select! {
                biased;
                Ok(()) = registration.changed() => {
                    let now = *registration.borrow_and_update();
                    own = Own { incarnation: now.incarnation, channels: HashSet::new() };
                    self.mark_again(now.cause);
                }
                // A server of a cluster may be back empty while the lease, on another, was kept.
                () = self.again.notified() => {
                    own.channels.clear();
                    self.mark_again(Cause::Forgotten);
                }
                () = moves.marked() => {}
            }
            table.nodes().leased().await;
            // Whoever has no lease any more writes under another name in a moment.
            if registration.has_changed().unwrap_or(false) {
                continue;
            }
            match self.flush_once(table, &mut own).await {
                Ok(()) => sleep(PAUSE).await,
                Err(error) => {
                    tracing::debug!(%error, "who comes and goes is not known to other nodes yet");
                    let part = rand::rng().random_range(0.25..1.0);
                    sleep(RETRY_MAX.mul_f64(part)).await;
                }
            }
        }
    }

    /// Everyone who is here is written again.
    fn mark_again(&self, cause: Cause) {
        let tell = match cause {
            // Those who thought this node dead told that its clients left.
            Cause::Expired => Tell::News,
            Cause::Began | Cause::Forgotten => Tell::Never,
        };
        // Before it is looked who is there: whoever comes after that is marked by coming.
        let moves = self.hub.moves();
        moves.doubt();
        let channels = self.hub.all();
        tracing::info!(channels = channels.len(), ?cause, "presence is written again");
        for channel in channels {
            for info in channel.everyone() {
                moves.mark_again(&channel, info, tell);
            }
        }
        moves.believe();
    }

    async fn flush_once(&self, table: &Table, own: &mut Own) -> Result<(), Error> {
        let moves = self.hub.moves();
        let mut groups: HashMap<Arc<str>, Group> = HashMap::new();
        for mark in moves.take() {
            groups.entry(mark.channel.name().clone()).or_default().push(mark);
        }
        let entered = enter(table, own, &groups).await;
        if entered.is_err() {
            groups.into_values().flatten().for_each(|mark| moves.put_back(mark));
            moves.settle();
            return entered;
        }
        let incarnation = own.incarnation;
        let marked = groups.values().flatten().map(|mark| mark.channel.clone());
        let mut channels: Vec<_> = marked.collect();
        channels.dedup_by(|one, other| Arc::ptr_eq(one, other));
        let write = |group| self.write(table, incarnation, group);
        let mut written = stream::iter(groups.into_values().map(write)).buffer_unordered(AT_ONCE);
        let mut result = Ok(());
        while let Some(one) = written.next().await {
            result = result.and(one);
        }
        drop(written);
        moves.settle();
        result?;
        table.nodes().make_sure(incarnation).await?;
        self.leave(table, own, &channels).await
    }

    /// Notes the channels where there are no entries any more.
    async fn leave(
        &self,
        table: &Table,
        own: &mut Own,
        channels: &[Arc<Channel>],
    ) -> Result<(), Error> {
        // A channel that began a new life has another of its name, and people may be in either.
        let is_here = |channel: &Arc<Channel>| {
            let now = self.hub.find_by_text(channel.name());
            !channel.is_deserted() || now.is_some_and(|now| !now.is_deserted())
        };
        let mut left: HashSet<_> = channels.iter().map(|channel| channel.name().clone()).collect();
        for channel in channels.iter().filter(|channel| is_here(channel)) {
            left.remove(channel.name());
        }
        let mut left: Vec<_> = left.into_iter().collect();
        left.retain(|name| own.channels.contains(name));
        if left.is_empty() {
            return Ok(());
        }
        // Whose leave is not written yet has an entry. Looked at after it was found deserted: who
        // leaves is marked before the channel is.
        let marked = self.hub.moves().marked_channels();
        left.retain(|name| !marked.contains(name));
        for names in left.chunks(CHANNELS_MAX) {
            // Noted again before the next entry, whatever comes of this.
            for name in names {
                own.channels.remove(name);
            }
            table.enter(own.incarnation, names, Entries::None).await?;
        }
        Ok(())
    }

    /// Writes what changed in one channel: joins, then leaves.
    async fn write(&self, table: &Table, incarnation: Uuid, group: Group) -> Result<(), Error> {
        let (joins, leaves): (Group, Group) = group.into_iter().partition(|mark| mark.here);
        let mut all = joins.into_iter().chain(leaves).peekable();
        while all.peek().is_some() {
            let some: Group = all.by_ref().take(WRITE_MAX).collect();
            if let Err(error) = self.write_some(table, incarnation, &some).await {
                let moves = self.hub.moves();
                some.into_iter().chain(all).for_each(|mark| moves.put_back(mark));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn write_some(
        &self,
        table: &Table,
        incarnation: Uuid,
        marks: &[Mark],
    ) -> Result<(), Error> {
        let channel = &marks[0].channel;
        let marked = marks.iter();
        let changes = marked.map(|mark| Change { info: &mark.info, here: mark.here });
        let changes: Vec<_> = changes.collect();
        let written = table.write(incarnation, channel.name(), &changes).await?;
        // The last write of this node is the newest: only one that was given up can be passed over.
        let Some(written) = written else { return Ok(()) };
        let clients = usize::try_from(written.numbers.num_clients).unwrap_or(usize::MAX);
        if channel.counted(clients) {
            self.hub.moves().crowd(Crowded { channel: channel.clone(), here: true });
            return Ok(());
        }
        for (mark, was_there) in marks.iter().zip(written.before) {
            if is_told(mark, was_there) {
                let info = mark.info.as_ref().clone();
                let message = if mark.here { Message::Joined(info) } else { Message::Left(info) };
                self.bus.say(Topic::Channel(channel.name()), &message);
            }
        }
        Ok(())
    }
}

/// Whether those on other nodes are told.
fn is_told(mark: &Mark, was_there: bool) -> bool {
    match mark.tell {
        Tell::Never => false,
        Tell::News => mark.here && !was_there,
        Tell::Always => mark.here || was_there || mark.known == Known::Present,
    }
}

/// Notes the channels where there will be entries, before there are any.
async fn enter(
    table: &Table,
    own: &mut Own,
    groups: &HashMap<Arc<str>, Group>,
) -> Result<(), Error> {
    let enters = |(name, group): (&Arc<str>, &Group)| {
        let is_new = !own.channels.contains(name) && group.iter().any(|mark| mark.here);
        is_new.then(|| name.clone())
    };
    let new: Vec<_> = groups.iter().filter_map(enters).collect();
    for names in new.chunks(CHANNELS_MAX) {
        table.enter(own.incarnation, names, Entries::Some).await?;
        own.channels.extend(names.iter().cloned());
    }
    Ok(())
}
