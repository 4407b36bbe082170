//! Who is connected: every session by client and by user, and the way to reach it.
//!
//! A session owns its [`Registered`] guard; dropping it takes the session out of every table.
//! What others want of a session goes into its mailbox and is done by the session itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hashbrown::HashMap;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::fanout::bus::{Order, What};
use crate::protocol::{DisconnectCode, Json, UnsubscribeCode};

/// Directives that wait for one session: more than a busy client's POSTs, far less than harm.
const MAILBOX_MAX: usize = 64;

/// Bytes of frames that wait in a mailbox.
const MAILBOX_BYTES_MAX: usize = 256 * 1024;

/// What a session is told to do.
#[derive(Debug, Clone)]
pub enum Directive {
    /// A frame that came by `/emulation`.
    Frame(Bytes),
    /// The response body of an emulated connection is gone.
    Gone,
    /// Say goodbye: the server is going away.
    Goodbye,
    /// Tell the client when to come back, ahead of the goodbye.
    Announce {
        /// Milliseconds from now.
        after_ms: u64,
    },
    /// End with this code.
    Disconnect(DisconnectCode),
    /// Leave a channel.
    Unsubscribe(Arc<str>, UnsubscribeCode),
    /// Enter a channel on behalf of the client.
    Subscribe(Arc<str>),
    /// The connection is good until then (Unix seconds), or for ever.
    Refresh(Option<u64>),
    /// Pass a message on.
    Message(Json),
    /// Look for channels whose life is over.
    Revisit,
}

/// The mailbox of one session.
#[derive(Debug)]
pub struct Handle {
    id: Uuid,
    /// There is none while nothing waits in it.
    mailbox: Mutex<Option<Box<Mailbox>>>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Mailbox {
    directives: VecDeque<Directive>,
    frame_bytes: usize,
}

/// The mailbox takes nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many commands wait for this session")]
pub struct MailboxFull;

/// A user has as many connections as allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the user has too many connections")]
pub struct TooMany;

/// All sessions of this process.
#[derive(Debug, Default)]
pub struct Registry {
    tables: Mutex<Tables>,
    sessions: AtomicUsize,
    users: AtomicUsize,
}

#[derive(Debug, Default)]
struct Tables {
    sessions: HashMap<Uuid, Arc<Handle>>,
    users: HashMap<Arc<str>, Vec<Arc<Handle>>>,
    emulated: HashMap<u128, Arc<Handle>>,
}

/// A session's place in the registry.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    handle: Arc<Handle>,
    user: Option<Arc<str>>,
    /// Few have one.
    secret: Option<Box<u128>>,
}

impl From<&What> for Directive {
    fn from(what: &What) -> Self {
        match what {
            What::Disconnect(code) => Self::Disconnect(*code),
            What::Unsubscribe(channel, code) => Self::Unsubscribe(channel.clone(), *code),
            What::Subscribe(channel) => Self::Subscribe(channel.clone()),
            What::Refresh(expires_at) => Self::Refresh(*expires_at),
            What::Message(data) => Self::Message(data.clone()),
        }
    }
}

impl Handle {
    /// Leaves a directive; the session acts on it before it reads on.
    ///
    /// # Errors
    /// [`MailboxFull`] for frames and messages; what ends or changes a session always gets in.
    pub fn tell(&self, directive: Directive) -> Result<(), MailboxFull> {
        let bytes = match &directive {
            Directive::Frame(frame) => frame.len(),
            Directive::Message(data) => data.len(),
            _ => 0,
        };
        let mut place = self.mailbox.lock();
        let waiting = |mailbox: &Mailbox| (mailbox.directives.len(), mailbox.frame_bytes);
        let (directives, frame_bytes) = place.as_deref().map_or((0, 0), waiting);
        let full = directives >= MAILBOX_MAX || frame_bytes + bytes > MAILBOX_BYTES_MAX;
        let refusable = matches!(directive, Directive::Frame(_) | Directive::Message(_));
        if full && refusable {
            return Err(MailboxFull);
        }
        let mailbox = place.get_or_insert_default();
        mailbox.frame_bytes += bytes;
        mailbox.directives.push_back(directive);
        drop(place);
        self.waker.wake();
        Ok(())
    }

    pub(crate) fn poll_directive(&self, cx: &mut Context<'_>) -> Poll<Directive> {
        if let Some(directive) = self.take() {
            return Poll::Ready(directive);
        }
        self.waker.register(cx.waker());
        self.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// True when something in the mailbox ends the session.
    pub(super) fn is_ending(&self) -> bool {
        let ends = |directive: &Directive| {
            matches!(directive, Directive::Gone | Directive::Goodbye | Directive::Disconnect(_))
        };
        self.mailbox.lock().iter().flat_map(|mailbox| &mailbox.directives).any(ends)
    }

    fn take(&self) -> Option<Directive> {
        let mut place = self.mailbox.lock();
        let mailbox = place.as_mut()?;
        let directive = mailbox.directives.pop_front()?;
        match &directive {
            Directive::Frame(frame) => mailbox.frame_bytes -= frame.len(),
            Directive::Message(data) => mailbox.frame_bytes -= data.len(),
            _ => {}
        }
        if mailbox.directives.is_empty() {
            *place = None;
        }
        Some(directive)
    }
}

impl Registry {
    /// Enters a new session.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Registered {
        let (mailbox, waker) = (Mutex::default(), AtomicWaker::new());
        let handle = Arc::new(Handle { id: Uuid::now_v7(), mailbox, waker });
        self.tables.lock().sessions.insert(handle.id, handle.clone());
        self.sessions.fetch_add(1, Ordering::Relaxed);
        Registered { registry: self.clone(), handle, user: None, secret: None }
    }

    /// The session that was given this secret.
    #[must_use]
    pub fn emulated(&self, secret: u128) -> Option<Arc<Handle>> {
        self.tables.lock().emulated.get(&secret).cloned()
    }

    /// The sessions of one user.
    #[must_use]
    pub fn of_user(&self, user: &str) -> Vec<Arc<Handle>> {
        self.tables.lock().users.get(user).cloned().unwrap_or_default()
    }

    /// Passes an order on to the sessions of a user; how many were told.
    pub fn obey(&self, order: &Order) -> usize {
        let directive = Directive::from(&order.what);
        let sessions = self.of_user(&order.user);
        // A full mailbox belongs to a client that is being cut already.
        sessions.iter().filter(|session| session.tell(directive.clone()).is_ok()).count()
    }

    /// The session of one client.
    #[must_use]
    pub fn of_client(&self, client: Uuid) -> Option<Arc<Handle>> {
        self.tables.lock().sessions.get(&client).cloned()
    }

    /// Every session.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Handle>> {
        self.tables.lock().sessions.values().cloned().collect()
    }

    /// Sessions now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Distinct users with a session.
    #[must_use]
    pub fn active_users(&self) -> usize {
        self.users.load(Ordering::Relaxed)
    }
}

impl Registered {
    /// The session's mailbox.
    #[must_use]
    pub fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }

    /// The client id.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.handle.id
    }

    /// Enters the session under its user, who may have `most` of them; the user as all of them
    /// share it.
    ///
    /// # Errors
    /// [`TooMany`] when that is reached.
    pub fn identify(&mut self, user: &Arc<str>, most: usize) -> Result<Arc<str>, TooMany> {
        let mut tables = self.registry.tables.lock();
        let entry = tables.users.entry(user.clone());
        let user = entry.key().clone();
        let sessions = entry.or_insert_with(|| Vec::with_capacity(1));
        if sessions.len() >= most {
            return Err(TooMany);
        }
        sessions.push(self.handle.clone());
        self.registry.users.store(tables.users.len(), Ordering::Relaxed);
        self.user = Some(user.clone());
        Ok(user)
    }

    /// A secret by which `/emulation` finds this session.
    pub fn emulate(&mut self) -> u128 {
        let secret = rand::random();
        self.registry.tables.lock().emulated.insert(secret, self.handle.clone());
        self.secret = Some(Box::new(secret));
        secret
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut tables = self.registry.tables.lock();
        tables.sessions.remove(&self.handle.id);
        self.registry.sessions.fetch_sub(1, Ordering::Relaxed);
        if let Some(secret) = &self.secret {
            tables.emulated.remove(&**secret);
        }
        let Some(user) = &self.user else { return };
        if let Some(sessions) = tables.users.get_mut(user) {
            sessions.retain(|handle| handle.id != self.handle.id);
            if sessions.is_empty() {
                tables.users.remove(user);
            }
        }
        self.registry.users.store(tables.users.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_leaves_every_table_when_it_is_dropped() {
        let registry = Arc::new(Registry::default());
        let ann: Arc<str> = "ann".into();
        let mut session = registry.enter();
        session.identify(&ann, 1).unwrap();
        let secret = session.emulate();
        assert_eq!(registry.enter().identify(&ann, 1), Err(TooMany));
        assert!(Arc::ptr_eq(&ann, &registry.enter().identify(&"ann".into(), 2).unwrap()));
        assert!(registry.emulated(secret).is_some());
        assert_eq!((registry.count(), registry.active_users()), (1, 1));
        drop(session);
        assert_eq!((registry.count(), registry.active_users()), (0, 0));
        assert!(registry.emulated(secret).is_none() && registry.of_user("ann").is_empty());
    }

    #[test]
    fn frames_are_bounded_and_orders_always_get_in() {
        let registry = Arc::new(Registry::default());
        let session = registry.enter();
        let frame = || Directive::Frame(Bytes::from_static(b"{}"));
        for _ in 0..MAILBOX_MAX {
            session.handle().tell(frame()).unwrap();
        }
        assert_eq!(session.handle().tell(frame()), Err(MailboxFull));
        let order = Directive::Disconnect(DisconnectCode::Forced);
        assert_eq!(session.handle().tell(order), Ok(()));
    }
}
