//! Who is in a channel by what this node knows, and what those in it are told of it.
//!
//! A client whose connection broke is held for a while: it stays on the list, and when the same
//! person comes again, here or on another node, the join of the new client is told before the
//! leave of the old one, so the person is never absent. Who left on purpose is gone at once, and
//! so is who has no name.
//!
//! In a channel with more than [`CROWD`] clients, on all nodes together, moves are not told one by
//! one: the numbers are, at most once a second. How many there are elsewhere is as good as the last
//! answer of Redis, so a few moves more or less are told one by one around the bound.

use std::sync::{Arc, LazyLock};

use chassis::delivery::{Class, Frame};
use hashbrown::HashMap;

use super::super::moves::Crowded;
use super::super::outlet::Audience;
use super::{Channel, State};
use crate::protocol::{
    ClientInfo, Json, PresenceStatsResult, Publication, Push, encode_publication, encode_push,
};

/// Clients of a channel whose moves are told one by one, and who are listed.
pub const CROWD: usize = 1000;

/// A channel that was larger is told of one by one again below this: numbers that go up and down
/// around the bound do not change the manner each time.
const CROWD_OVER: usize = 900;

/// How somebody leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leaving {
    /// On purpose, its own or the server's.
    ForGood,
    /// Its connection is gone, or it was told to come again.
    Interrupted,
}

/// The clients of one channel on this node.
#[derive(Debug, Default)]
pub(super) struct Roster {
    present: HashMap<Arc<str>, Arc<ClientInfo>>,
    users: HashMap<Arc<str>, u32>,
    /// By user, those who are waited for; they are present.
    held: HashMap<Arc<str>, Vec<Arc<ClientInfo>>>,
    /// Clients on other nodes, by the last that was heard.
    elsewhere: usize,
    is_crowd: bool,
    /// The numbers that were told last.
    told: Option<PresenceStatsResult>,
}

impl Roster {
    fn enter(&mut self, info: &Arc<ClientInfo>) {
        if self.present.insert(info.client.clone(), info.clone()).is_none() {
            *self.users.entry(info.user.clone()).or_insert(0) += 1;
        }
    }

    fn leave(&mut self, info: &ClientInfo) {
        if self.present.remove(&info.client).is_none() {
            return;
        }
        if let Some(clients) = self.users.get_mut(&info.user) {
            *clients -= 1;
            if *clients == 0 {
                self.users.remove(&info.user);
            }
        }
    }

    /// Takes a client from those who are waited for; false when it is not waited for any more.
    fn unhold(&mut self, info: &ClientInfo) -> bool {
        let Some(clients) = self.held.get_mut(&info.user) else { return false };
        let before = clients.len();
        clients.retain(|held| held.client != info.client);
        let found = clients.len() < before;
        if clients.is_empty() {
            self.held.remove(&info.user);
        }
        found
    }

    /// Whether moves are not told one by one, by the newest numbers.
    fn is_crowd(&mut self) -> bool {
        let clients = self.present.len() + self.elsewhere;
        let bound = if self.is_crowd { CROWD_OVER } else { CROWD + 1 };
        self.is_crowd = clients >= bound;
        self.is_crowd
    }
}

impl State {
    fn roster(&mut self) -> &mut Roster {
        self.roster.get_or_insert_default()
    }

    fn present(&self) -> impl ExactSizeIterator<Item = &Arc<ClientInfo>> {
        static NOBODY: LazyLock<HashMap<Arc<str>, Arc<ClientInfo>>> = LazyLock::new(HashMap::new);
        self.roster.as_ref().map_or(&*NOBODY, |roster| &roster.present).values()
    }
}

impl Channel {
    /// Whether anybody is told who comes and goes, or may ask.
    pub(super) fn keeps_presence(&self) -> bool {
        self.options.presence || self.tells_moves()
    }

    fn tells_moves(&self) -> bool {
        self.options.join_leave || self.options.force_push_join_leave
    }

    /// A client is in the channel from now on.
    pub(super) fn arrive(self: &Arc<Self>, info: &Arc<ClientInfo>) {
        let mut state = self.state.lock();
        state.roster().enter(info);
        self.kept.moves.mark(self, info, true);
        self.tell(&mut state, Move::Join(info), Side::Here);
        self.forget_old(&mut state, info);
    }

    /// A client is not connected any more.
    pub(super) fn depart(self: &Arc<Self>, info: &Arc<ClientInfo>, leaving: Leaving) {
        let mut state = self.state.lock();
        let may_come_back = leaving == Leaving::Interrupted && !info.user.is_empty();
        if may_come_back && self.kept.moves.hold(self, info) {
            state.roster().held.entry(info.user.clone()).or_default().push(info.clone());
            return;
        }
        self.remove(&mut state, info);
    }

    /// A client that was waited for did not come back.
    pub(in super::super) fn give_up(self: &Arc<Self>, info: &Arc<ClientInfo>) {
        let mut state = self.state.lock();
        if state.roster().unhold(info) {
            self.remove(&mut state, info);
        }
    }

    /// Somebody came into the channel on another node.
    pub fn joined_elsewhere(self: &Arc<Self>, info: &ClientInfo) {
        let mut state = self.state.lock();
        state.roster().elsewhere += 1;
        self.tell(&mut state, Move::Join(info), Side::Elsewhere);
        self.forget_old(&mut state, info);
    }

    /// Somebody left it there.
    pub fn left_elsewhere(self: &Arc<Self>, info: &ClientInfo) {
        let mut state = self.state.lock();
        let roster = state.roster();
        roster.elsewhere = roster.elsewhere.saturating_sub(1);
        self.tell(&mut state, Move::Leave(info), Side::Elsewhere);
    }

    /// Older clients of somebody who is there again are gone; told after the join.
    fn forget_old(self: &Arc<Self>, state: &mut State, info: &ClientInfo) {
        if info.user.is_empty() {
            return;
        }
        for old in state.roster().held.remove(&info.user).unwrap_or_default() {
            self.remove(state, &old);
        }
    }

    fn remove(self: &Arc<Self>, state: &mut State, info: &Arc<ClientInfo>) {
        state.roster().leave(info);
        self.kept.moves.mark(self, info, false);
        self.tell(state, Move::Leave(info), Side::Here);
    }

    fn tell(self: &Arc<Self>, state: &mut State, what: Move<'_>, side: Side) {
        let roster = state.roster();
        let was_crowd = roster.is_crowd;
        let is_crowd = roster.is_crowd();
        if is_crowd || was_crowd {
            self.kept.moves.crowd(Crowded { channel: self.clone(), here: side == Side::Here });
        }
        if is_crowd || !self.tells_moves() {
            return;
        }
        let channel = self.name.clone();
        let push = match what {
            Move::Join(info) => Push::Join { channel, info: ClientInfo::clone(info) },
            Move::Leave(info) => Push::Leave { channel, info: ClientInfo::clone(info) },
        };
        self.fan_out_presence(state, |encoding, out| encode_push(encoding, &push, out));
    }

    fn fan_out_presence(
        &self,
        state: &State,
        encode: impl Fn(crate::protocol::Encoding, &mut Vec<u8>),
    ) {
        // Who is there can be asked for; what delivery cannot keep up with cannot be helped.
        if !self.kept.delivery.has_room() {
            return;
        }
        let audience = match self.options.force_push_join_leave {
            true => Audience::Everyone,
            false => Audience::JoinLeave,
        };
        let frame = |bytes| Frame { bytes, class: Class::Presence, offset: 0, accepted: None };
        self.fan_out(state, audience, frame, encode);
    }

    /// How many clients there are on all nodes, as of now; true when that is a crowd.
    pub fn counted(self: &Arc<Self>, clients: usize) -> bool {
        let mut state = self.state.lock();
        let roster = state.roster();
        let was_crowd = roster.is_crowd;
        roster.elsewhere = clients.saturating_sub(roster.present.len());
        let is_crowd = roster.is_crowd();
        if is_crowd || was_crowd {
            self.kept.moves.crowd(Crowded { channel: self.clone(), here: false });
        }
        is_crowd
    }

    /// Tells those who are told of moves how many there are, if that is news.
    pub fn tell_crowd(&self, numbers: PresenceStatsResult) {
        let mut state = self.state.lock();
        if state.roster().told.replace(numbers) == Some(numbers) || !self.tells_moves() {
            return;
        }
        let PresenceStatsResult { num_clients, num_users } = numbers;
        let text =
            format!("{{\"type\":\"presence\",\"clients\":{num_clients},\"users\":{num_users}}}");
        let data = Json::parse(text.as_bytes()).expect("words and numbers are JSON");
        let publication = Publication::new(data);
        self.fan_out_presence(&state, |encoding, out| {
            encode_publication(encoding, &self.name, &publication, out);
        });
    }

    /// Everyone who is here, those who are waited for among them.
    #[must_use]
    pub fn everyone(&self) -> Vec<Arc<ClientInfo>> {
        self.state.lock().present().cloned().collect()
    }

    /// True when nobody is here or waited for.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.state.lock().present().len() == 0
    }

    /// Who is here.
    ///
    /// # Errors
    /// How many there are, when that is over `most`.
    pub fn presence(&self, most: usize) -> Result<Vec<Arc<ClientInfo>>, usize> {
        let state = self.state.lock();
        match state.present().len() {
            count if count > most => Err(count),
            _ => Ok(state.present().cloned().collect()),
        }
    }

    /// How many are here.
    #[must_use]
    pub fn presence_stats(&self) -> PresenceStatsResult {
        let state = self.state.lock();
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        let users = state.roster.as_ref().map_or(0, |roster| roster.users.len());
        PresenceStatsResult { num_clients: count(state.present().len()), num_users: count(users) }
    }
}

/// Somebody comes or goes.
#[derive(Clone, Copy)]
enum Move<'a> {
    Join(&'a ClientInfo),
    Leave(&'a ClientInfo),
}

/// Where somebody comes or goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// On this node.
    Here,
    /// On another one.
    Elsewhere,
}
