//! Who is in which channel on all nodes, as Redis has it.
//!
//! ```text
//! <prefix>:here:{channel}         client -> the node's incarnation, the user, the rest
//! <prefix>:here:{channel}:users   user -> how many clients; both change in one script
//! <prefix>:here:{channel}:writes  node -> the number of its last write
//! <prefix>:{in:<incarnation>}     the channels where it has entries: written before the entries
//! <prefix>:{nodes}:dead           incarnations whose entries are to be removed, and when next
//! ```
//! So clients and users are counted exactly and at once, however many there are, and nothing is
//! found but what somebody wrote: no key is searched for.
//!
//! Writes are numbered. One that was given up may still lie in front of a Redis that stands still,
//! and be done after later ones: it is passed over then.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chassis::redis::commands::cmd;
use chassis::redis::{Error, Script};
use uuid::Uuid;

use crate::fanout::bus::{Message, decode, encode};
use crate::nodes::{Nodes, tag};
use crate::protocol::{ClientInfo, PresenceStatsResult};

/// Clients of one write: with infos of a kilobyte, a tenth of a megabyte.
pub(super) const WRITE_MAX: usize = 100;

/// Channels of one change of an incarnation's.
pub(super) const CHANNELS_MAX: usize = 500;

/// Entries that one step of a sweep looks at: about a millisecond of Redis.
const SWEEP: usize = 500;

static WRITE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("write.lua")));
static SWEEP_PART: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("sweep.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("list.lua")));
static ENTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("enter.lua")));
static BURY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("bury.lua")));
static REST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rest.lua")));

/// The table, as one node writes it.
#[derive(Debug)]
pub(super) struct Table {
    nodes: Arc<Nodes>,
    /// The number of the last write.
    writes: AtomicU64,
}

/// One client that comes or leaves.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) info: &'a ClientInfo,
    pub(super) here: bool,
}

/// What a write found.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) numbers: PresenceStatsResult,
    /// For each client, whether it was there.
    pub(super) before: Vec<bool>,
}

/// A part of a sweep.
#[derive(Debug)]
pub(super) struct Swept {
    /// Where to go on; `None` when it is done.
    pub(super) next: Option<u64>,
    /// How many clients there were.
    pub(super) before: usize,
    pub(super) gone: Vec<ClientInfo>,
}

/// What becomes of the channels of an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entries {
    /// It has entries there.
    Some,
    /// It has none any more.
    None,
}

/// What becomes of a dead incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Somebody is at it.
    Under,
    /// It is looked at again, or forgotten when it has been dead for long.
    Over,
}

impl Table {
    pub(super) fn new(nodes: Arc<Nodes>) -> Self {
        Self { nodes, writes: AtomicU64::new(0) }
    }

    pub(super) fn nodes(&self) -> &Arc<Nodes> {
        &self.nodes
    }

    /// Clients of this node come into a channel or leave it; `None` when a later write was first.
    pub(super) async fn write(
        &self,
        incarnation: Uuid,
        channel: &str,
        changes: &[Change<'_>],
    ) -> Result<Option<Written>, Error> {
        let here = self.here(channel);
        let mut script = WRITE.prepare_invoke();
        script.key(&here).key(format!("{here}:users")).key(format!("{here}:writes"));
        script.arg(self.nodes.id().as_bytes().as_slice()).arg(self.number());
        for Change { info, here } in changes {
            script.arg(&*info.client);
            script.arg(if *here { entry(incarnation, info) } else { Vec::new() });
        }
        let raw: (i64, u32, Vec<u64>) = self.nodes.redis().invoke(&script).await?;
        let (num_clients, num_users, before) = raw;
        let Ok(num_clients) = u32::try_from(num_clients) else { return Ok(None) };
        let numbers = PresenceStatsResult { num_clients, num_users };
        Ok(Some(Written { numbers, before: before.into_iter().map(|was| was == 1).collect() }))
    }

    /// How many clients and users are in a channel.
    pub(super) async fn count(&self, channel: &str) -> Result<PresenceStatsResult, Error> {
        Ok(self.look(channel, 0).await?.0)
    }

    /// Who is in a channel, or how many when there are over `most`.
    pub(super) async fn list(
        &self,
        channel: &str,
        most: usize,
    ) -> Result<Result<Vec<ClientInfo>, usize>, Error> {
        let (PresenceStatsResult { num_clients, .. }, infos) = self.look(channel, most).await?;
        let clients = usize::try_from(num_clients).unwrap_or(usize::MAX);
        Ok(if clients > most { Err(clients) } else { Ok(infos) })
    }

    async fn look(
        &self,
        channel: &str,
        most: usize,
    ) -> Result<(PresenceStatsResult, Vec<ClientInfo>), Error> {
        let here = self.here(channel);
        let mut script = LIST.prepare_invoke();
        script.key(&here).key(format!("{here}:users")).arg(most);
        // On the heap: sessions wait for it in the middle of a command.
        let asked = Box::pin(self.nodes.redis().fetch(&script));
        let (num_clients, num_users, entries): (u32, u32, Vec<Vec<u8>>) = asked.await?;
        let infos = entries.iter().filter_map(|entry| info(entry)).collect();
        Ok((PresenceStatsResult { num_clients, num_users }, infos))
    }

    /// An incarnation has entries in channels, or has none any more.
    pub(super) async fn enter(
        &self,
        incarnation: Uuid,
        channels: &[Arc<str>],
        entries: Entries,
    ) -> Result<(), Error> {
        let key = self.channels_of(incarnation);
        let mut script = ENTER.prepare_invoke();
        script.key(&key).key(format!("{key}:writes")).arg(self.number());
        script.arg(if entries == Entries::Some { "add" } else { "remove" });
        for channel in channels {
            script.arg(&**channel);
        }
        let _done: u8 = self.nodes.redis().invoke(&script).await?;
        Ok(())
    }

    /// Buries those whose lease has run out, and gives one of the dead to look after for a while.
    pub(super) async fn bury(
        &self,
        over: &HashSet<Uuid>,
        claim: Duration,
    ) -> Result<Option<Uuid>, Error> {
        let mut script = BURY.prepare_invoke();
        for key in ["alive", "dead", "died"] {
            script.key(self.nodes.key(key));
        }
        script.arg(millis(claim));
        for incarnation in over {
            script.arg(incarnation.to_string());
        }
        let due: Vec<String> = self.nodes.redis().invoke(&script).await?;
        Ok(due.first().and_then(|due| Uuid::parse_str(due).ok()))
    }

    /// Some channels where a dead incarnation has entries.
    pub(super) async fn left_in(&self, dead: Uuid) -> Result<Vec<String>, Error> {
        let key = self.channels_of(dead);
        self.nodes.redis().query(cmd("SRANDMEMBER").arg(key).arg(CHANNELS_MAX)).await
    }

    /// A dead incarnation has no entries in channels any more; how many of them were noted. Writes
    /// are numbered by who made them, and whose entries these were makes none, so this has no
    /// number: what still was on its way is found when the incarnation is looked at again.
    pub(super) async fn forget(&self, dead: Uuid, channels: &[String]) -> Result<usize, Error> {
        let key = self.channels_of(dead);
        self.nodes.redis().query(cmd("SREM").arg(key).arg(channels)).await
    }

    /// Removes a part of its entries in a channel.
    pub(super) async fn sweep(&self, dead: Uuid, channel: &str, at: u64) -> Result<Swept, Error> {
        let here = self.here(channel);
        let mut script = SWEEP_PART.prepare_invoke();
        script.key(&here).key(format!("{here}:users"));
        script.arg(dead.as_bytes().as_slice()).arg(at).arg(SWEEP);
        let raw: (u64, usize, Vec<Vec<u8>>) = self.nodes.redis().invoke(&script).await?;
        let (next, before, removed) = raw;
        let gone = removed.iter().filter_map(|entry| info(entry)).collect();
        Ok(Swept { next: (next > 0).then_some(next), before, gone })
    }

    /// What is next for a dead incarnation: it is looked at again after `again`, and forgotten when
    /// it has been dead for `forgotten_after`.
    pub(super) async fn rest(
        &self,
        dead: Uuid,
        rest: Rest,
        again: Duration,
        forgotten_after: Duration,
    ) -> Result<(), Error> {
        let mut script = REST.prepare_invoke();
        for key in ["dead", "died", "info"] {
            script.key(self.nodes.key(key));
        }
        script.arg(dead.to_string()).arg(millis(again));
        match rest {
            Rest::Under => script.arg(""),
            Rest::Over => script.arg(millis(forgotten_after)),
        };
        let _forgotten: u8 = self.nodes.redis().invoke(&script).await?;
        Ok(())
    }

    fn number(&self) -> u64 {
        self.writes.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn here(&self, channel: &str) -> String {
        format!("{}:here:{{{}}}", self.nodes.prefix(), tag::of_channel(channel))
    }

    fn channels_of(&self, incarnation: Uuid) -> String {
        format!("{}:{{in:{incarnation}}}", self.nodes.prefix())
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// The incarnation, the length of the user and the user, where scripts find them; then everything
/// once more in the words of the bus.
fn entry(incarnation: Uuid, info: &ClientInfo) -> Vec<u8> {
    let mut entry = incarnation.as_bytes().to_vec();
    let user = info.user.as_bytes();
    let length = u16::try_from(user.len()).expect("a user id is shorter than 64 KiB");
    entry.extend_from_slice(&length.to_be_bytes());
    entry.extend_from_slice(user);
    entry.extend_from_slice(&encode(incarnation, &Message::Joined(info.clone())));
    entry
}

/// What an entry says; `None` for what no node of ours has written.
fn info(entry: &[u8]) -> Option<ClientInfo> {
    let (length, rest) = entry.get(16..)?.split_at_checked(2)?;
    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
    let said = Bytes::copy_from_slice(rest.get(length..)?);
    match decode(said) {
        Ok((_, Some(Message::Joined(info)))) => Some(info),
        _ => {
            tracing::debug!("an entry that no node has written");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::Json;

    proptest! {
        #[test]
        fn an_entry_gives_back_what_was_put_into_it(user in ".{0,64}", client in "[a-z]{1,9}") {
            let said = ClientInfo {
                user: user.as_str().into(),
                client: client.as_str().into(),
                conn_info: Json::parse(b"{\"name\":\"Ann\"}").ok(),
                chan_info: None,
            };
            prop_assert_eq!(info(&entry(Uuid::new_v4(), &said)), Some(said));
        }

        #[test]
        fn any_bytes_are_an_entry_or_not(bytes in any::<Vec<u8>>()) {
            let _either = info(&bytes);
        }
    }
}
