//! Puts people out of the channels of rooms that they may no longer read.
//!
//! One task. It follows what is delivered in the rooms that somebody here is in, in whatever way
//! it came: committed by this process, told by another node, or read from the store. What is
//! remembered of people is forgotten before that: whoever comes back is asked about again.
//!
//! It asks before it acts: what happened is a reason to look, and who has the right again stays.

use std::future::ready;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use hashbrown::HashSet;
use tokio_util::sync::CancellationToken;

use super::{Refusal, Services};
use crate::channel::{Channel, ChannelName, Notes, Place};
use crate::fanout::within;
use crate::protocol::{ClientInfo, UnsubscribeCode};
use crate::room::{Act, Kind, RoomId};
use crate::session::registry::{Directive, Handle};
use crate::store;

/// Members that are read at once.
const MEMBERS_PAGE: usize = 1000;

/// People who are asked about at the same time: a small part of the connections to the store.
const ASKED_MAX: usize = 4;

/// Puts out whoever may no longer read a room, until `over`.
pub async fn follow(services: Arc<Services>, over: CancellationToken) {
    loop {
        let notes = tokio::select! {
            biased;
            () = over.cancelled() => return,
            notes = services.hub.changes().noted() => notes,
        };
        // Asking may take long, and nobody waits for those who are left when everybody goes.
        tokio::select! {
            biased;
            () = over.cancelled() => return,
            () = services.look(notes) => {}
        }
    }
}

impl Services {
    async fn look(&self, Notes { people, mut rooms, everything }: Notes) {
        let people = stream::iter(&people);
        people.for_each_concurrent(ASKED_MAX, |(room, user)| self.look_at(*room, user)).await;
        if everything {
            rooms.extend(self.hub.logs().iter().filter_map(|channel| channel.room()));
        }
        for room in rooms {
            if let Some(channel) = self.hub.find_by_text(&room.channel()) {
                self.clear(room, &channel).await;
            }
        }
    }

    async fn look_at(&self, room: RoomId, user: &Arc<str>) {
        let (channel, sessions) = (room.channel(), self.registry.of_user(user));
        if sessions.is_empty() || self.hub.find_by_text(&channel).is_none() {
            return;
        }
        if let Some(code) = self.lost(room, user).await {
            sessions.iter().for_each(|session| unsubscribe(session, &channel, code));
        }
    }

    /// How somebody leaves a room that they may not read; `None` for who may.
    async fn lost(&self, room: RoomId, user: &Arc<str>) -> Option<UnsubscribeCode> {
        match self.authority.permit(room, user, Act::Read).await {
            Ok(_) => None,
            // They come back and are asked about then.
            Err(Refusal::Error(error)) if error.code.is_temporary() => {
                Some(UnsubscribeCode::InsufficientState)
            }
            Err(_) => Some(UnsubscribeCode::Server),
        }
    }

    /// Puts everybody out of a room who may not read it.
    async fn clear(&self, room: RoomId, channel: &Channel) {
        let present = channel.presence(usize::MAX).unwrap_or_default();
        let users: HashSet<Arc<str>> = present.iter().map(|info| info.user.clone()).collect();
        let (strangers, code) = match self.strangers(room, channel, users).await {
            Ok(strangers) => (strangers, UnsubscribeCode::Server),
            // Everyone comes back and is asked about one by one.
            Err(error) => {
                tracing::warn!(%error, "it cannot be told who may stay in a room");
                let all = present.iter().map(|info| info.user.clone()).collect();
                (all, UnsubscribeCode::InsufficientState)
            }
        };
        let strangers = present.iter().filter(|info| strangers.contains(&info.user));
        for session in strangers.filter_map(|info| self.session(info)) {
            unsubscribe(&session, channel.name(), code);
        }
    }

    /// Those of some people who may not read a room.
    async fn strangers(
        &self,
        room: RoomId,
        channel: &Channel,
        mut people: HashSet<Arc<str>>,
    ) -> Result<HashSet<Arc<str>>, store::Error> {
        if people.is_empty() {
            return Ok(people);
        }
        let kind = within(self.authority.standing(room, &"".into())).await?.room.kind;
        if kind != Kind::Public && !self.authority.knows(channel) {
            let members = self.members(room).await?;
            people.retain(|user| !members.contains(&**user));
            return Ok(people);
        }
        // Everybody is known, or may read it who is not banned.
        let asked = stream::iter(people)
            .map(|user| async move { self.lost(room, &user).await.map(|_code| user) });
        Ok(asked.buffer_unordered(ASKED_MAX).filter_map(ready).collect().await)
    }

    async fn members(&self, room: RoomId) -> Result<HashSet<String>, store::Error> {
        let (mut members, mut after) = (HashSet::new(), String::new());
        loop {
            let page = within(self.store.members(room, &after, MEMBERS_PAGE)).await?;
            let is_last = page.len() < MEMBERS_PAGE;
            if let Some(last) = page.last() {
                after.clone_from(&last.user);
            }
            members.extend(page.into_iter().map(|member| member.user));
            if is_last {
                return Ok(members);
            }
        }
    }

    fn session(&self, info: &ClientInfo) -> Option<Arc<Handle>> {
        self.registry.of_client(info.client.parse().ok()?)
    }
}

/// Whether a client that has just entered a channel may stay in it. Whoever is put out of a room
/// is looked for among those who are there, and forgotten before that: who asks once they are
/// there is either found, or told.
pub async fn may_stay(services: &Services, info: &ClientInfo, channel: &str) -> bool {
    let Ok(name) = ChannelName::parse(channel) else { return true };
    let Place::Room(Some(room)) = name.place() else { return true };
    match services.authority.permit(room, &info.user, Act::Read).await {
        // Without an answer of the store, what it said a moment ago stands.
        Err(Refusal::Error(error)) => error.code.is_temporary(),
        _ => true,
    }
}

fn unsubscribe(session: &Handle, channel: &Arc<str>, code: UnsubscribeCode) {
    // What takes a channel away always gets into the mailbox.
    if session.tell(Directive::Unsubscribe(channel.clone(), code)).is_err() {
        tracing::warn!("a session could not be put out of a room");
    }
}
