//! Puts people out of the channel of a room that they may no longer read.
//!
//! It runs after the commit and before the change is published. What is remembered of people is
//! forgotten first: whoever comes back is asked again. Only the sessions of this process.

use std::sync::Arc;

use hashbrown::HashSet;

use super::{Authority, Refusal, Services};
use crate::channel::{ChannelName, Hub, Place};
use crate::protocol::{ClientInfo, UnsubscribeCode};
use crate::room::{Act, RoomId};
use crate::session::registry::{Directive, Handle, Registry};
use crate::store::{self, Store};

/// Members that are read at once.
const MEMBERS_PAGE: usize = 1000;

/// What it takes to find people; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Doorkeeper {
    authority: Authority,
    store: Arc<Store>,
    hub: Arc<Hub>,
    registry: Arc<Registry>,
}

impl Doorkeeper {
    pub(super) fn of(services: &Services) -> Self {
        let Services { authority, store, hub, registry, .. } = services;
        let (authority, store) = (authority.clone(), store.clone());
        Self { authority, store, hub: hub.clone(), registry: registry.clone() }
    }

    /// A person is something else in a room from now on.
    pub(super) fn forget(&self, room: RoomId, user: &Arc<str>) {
        self.authority.forget(room, user);
    }

    /// A room is something else from now on.
    pub(super) fn forget_room(&self, room: RoomId) {
        self.authority.forget_room(room);
    }

    /// A person may no longer read a room.
    pub(super) fn put_out(&self, room: RoomId, user: &str) {
        let channel = room.channel();
        for session in self.registry.of_user(user) {
            unsubscribe(&session, &channel, UnsubscribeCode::Server);
        }
    }

    /// A room is no longer public: only its members stay.
    pub(super) async fn clear(&self, room: RoomId) {
        let name = room.channel();
        let Some(channel) = self.hub.find_by_text(&name) else { return };
        let present = channel.presence(usize::MAX).unwrap_or_default();
        if present.is_empty() {
            return;
        }
        let (members, code) = match self.members(room).await {
            Ok(members) => (members, UnsubscribeCode::Server),
            // Everyone comes back and is asked one by one.
            Err(error) => {
                tracing::warn!(%error, "the members of a closed room could not be read");
                (HashSet::new(), UnsubscribeCode::InsufficientState)
            }
        };
        let strangers = present.iter().filter(|info| !members.contains(&*info.user));
        for session in strangers.filter_map(|info| self.session(info)) {
            unsubscribe(&session, &name, code);
        }
    }

    async fn members(&self, room: RoomId) -> Result<HashSet<String>, store::Error> {
        let (mut members, mut after) = (HashSet::new(), String::new());
        loop {
            let page = self.store.members(room, &after, MEMBERS_PAGE).await?;
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
