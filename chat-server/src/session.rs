//! One connected client: an actor that reads commands, keeps subscriptions and ends for exactly
//! one reason.
//!
//! A task of its own. Its inputs, in order of priority: directives from its mailbox, what the
//! client sends, the clock. It never writes to the connection: replies and pushes are queued with
//! [`chassis::delivery`], and a client that asks for more than it reads is not read further.
//! While idle it owns no buffer; the future of a command lives on the heap while it runs.

mod catch_up;
mod deadlines;
mod dispatch;
mod end;
mod inbound;
pub mod registry;
pub mod remote;
mod renewal;
mod subs;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use chassis::delivery::Member;
use chassis::rate_limit::Bucket;
use tokio::time::Instant;

use deadlines::{Deadlines, Due};
pub use end::{End, Parting};
use inbound::{Inbound, Incoming};
use registry::{Directive, Registered};
pub use subs::{MadeBy, Sub, Subs};

use crate::command::{Services, unix_seconds};
use crate::fanout::bus::Listening;
use crate::metrics::{Connected, Transport};
use crate::nodes::Seat;
use crate::outbound::{Batch, Format};
use crate::protocol::{ClientInfo, DisconnectCode, Extensions, Push, UnsubscribeCode};

/// Replies of one client that may wait for its socket before its next command is done.
const UNREAD_REPLIES_MAX: usize = 64 * 1024;

/// The actor of one connection.
#[derive(Debug)]
pub struct Session {
    services: Arc<Services>,
    member: Member,
    format: Format,
    registered: Registered,
    identity: Option<Box<Identity>>,
    /// A first `connect` failed: the client will go and come back.
    refused: bool,
    subs: Subs,
    incoming: Incoming,
    /// The last thing that happened was a read.
    heard: bool,
    /// The last thing that happened was a directive.
    told: bool,
    deadlines: Deadlines,
    granted: Extensions,
    commands: Bucket,
    publishes: Bucket,
    errors: Bucket,
    _counted: Connected,
}

/// A client that is let in.
#[derive(Debug)]
struct Identity {
    info: Arc<ClientInfo>,
    /// When its token ends, in Unix seconds.
    expires_at: Option<u64>,
    /// Orders of other nodes are heard for as long as the client is here.
    _hearing: Option<Listening>,
    /// Given back when it goes.
    _seat: Option<Seat>,
}

/// What happens next in the life of a session.
enum Event {
    Directive(Directive),
    Inbound(Inbound),
    Due(Due),
    /// A client that is behind can take more of the log.
    CatchUp,
}

impl Session {
    /// A session that has not said anything; `early` is what its client sent ahead of the
    /// upgrade's response.
    #[must_use]
    pub fn new(
        services: Arc<Services>,
        member: Member,
        format: Format,
        transport: Transport,
        early: &[u8],
    ) -> Self {
        let incoming = Incoming::new(services.limits.frame_bytes_max, format, early);
        Self {
            registered: services.registry.enter(),
            deadlines: Deadlines::new(&services.timing, Instant::now()),
            _counted: services.metrics.connected(transport),
            services,
            member,
            format,
            identity: None,
            refused: false,
            subs: Subs::default(),
            incoming,
            heard: false,
            told: false,
            granted: Extensions::default(),
            commands: Bucket::new(),
            publishes: Bucket::new(),
            errors: Bucket::new(),
        }
    }

    /// Its mailbox.
    #[must_use]
    pub fn mailbox(&self) -> &Arc<registry::Handle> {
        self.registered.handle()
    }

    /// Lives until the client goes or must go; then comes [`Session::finish`].
    ///
    /// It is borrowed: a future that takes a session has room for it twice.
    pub async fn run(&mut self) -> End {
        loop {
            // One read may bring ten thousand frames: others on this thread get their turns. Before
            // the wait and not behind it, where the event would have its room all the time.
            tokio::task::coop::consume_budget().await;
            let event = poll_fn(|cx| self.poll_event(cx)).await;
            // On the heap, so that an idle connection does not hold room for the largest command.
            if let Some(end) = Box::pin(self.on(event)).await {
                return end;
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            // Who never stops posting frames cannot stop the clock.
            if std::mem::take(&mut self.told)
                && let Poll::Ready(due) = self.deadlines.poll_due(cx, &self.services.timing)
            {
                return Poll::Ready(Event::Due(due));
            }
            if let Poll::Ready(directive) = self.registered.handle().poll_directive(cx) {
                self.told = true;
                return Poll::Ready(Event::Directive(directive));
            }
            if let Some(inbound) = self.incoming.next() {
                return Poll::Ready(Event::Inbound(inbound));
            }
            // Nor can who never stops sending: it is looked at between two reads. Not before the
            // first one, which may bring the pong that a stalled process has not seen yet.
            if std::mem::take(&mut self.heard)
                && let Poll::Ready(due) = self.deadlines.poll_due(cx, &self.services.timing)
            {
                return Poll::Ready(Event::Due(due));
            }
            let delivery = self.services.hub.delivery();
            if self.incoming.poll_read(cx, &self.member, delivery).is_pending() {
                if let Poll::Ready(due) = self.deadlines.poll_due(cx, &self.services.timing) {
                    return Poll::Ready(Event::Due(due));
                }
                return self.poll_catch_up(cx).map(|()| Event::CatchUp);
            }
            self.heard = true;
        }
    }

    async fn on(&mut self, event: Event) -> Option<End> {
        match event {
            Event::Inbound(inbound) => self.on_inbound(inbound).await,
            Event::Directive(directive) => Box::pin(self.on_directive(directive)).await,
            Event::Due(due) => self.on_due(due),
            Event::CatchUp => Box::pin(self.catch_up()).await,
        }
    }

    async fn on_inbound(&mut self, inbound: Inbound) -> Option<End> {
        match inbound {
            Inbound::Frame(frame) => self.on_frame(&frame).await,
            Inbound::Reply(bytes) => {
                self.member.send(bytes);
                None
            }
            Inbound::End(end) => Some(end),
        }
    }

    async fn on_frame(&mut self, frame: &[u8]) -> Option<End> {
        match self.handle(frame).await {
            Some(end) => Some(end),
            None => self.drained().await.err().map(End::Disconnect),
        }
    }

    async fn on_directive(&mut self, directive: Directive) -> Option<End> {
        match directive {
            Directive::Frame(frame) => return self.on_frame(&frame).await,
            Directive::Gone => return Some(End::Gone),
            Directive::Goodbye => return Some(self.goodbye()),
            Directive::Disconnect(code) => return Some(End::Disconnect(code)),
            Directive::Announce { after_ms } => {
                if self.granted.after {
                    let code = DisconnectCode::Shutdown;
                    self.push(&Push::Disconnect { code, after_ms: Some(after_ms) });
                }
            }
            Directive::Unsubscribe(channel, code) => self.unsubscribe(&channel, code),
            Directive::Subscribe(channel) => {
                return self.subscribe_for_server(&channel).await.err().map(End::Disconnect);
            }
            Directive::Refresh(expires_at) => {
                if let Some(identity) = &mut self.identity {
                    identity.expires_at = expires_at;
                    self.expiry_changed();
                    self.push(&Push::Refresh { ttl: crate::command::ttl(expires_at) });
                }
            }
            Directive::Message(data) => self.push(&Push::Message { data }),
            Directive::Revisit => return self.revisit(),
        }
        None
    }

    /// Leaves the channels whose life is over; the client comes into them again.
    fn revisit(&mut self) -> Option<End> {
        for (channel, made_by) in self.subs.over() {
            match made_by {
                MadeBy::Client => self.unsubscribe(&channel, UnsubscribeCode::InsufficientState),
                // What the server subscribed a client to comes back with its connection alone.
                MadeBy::Server => return Some(End::Disconnect(DisconnectCode::InsufficientState)),
            }
        }
        None
    }

    fn on_due(&mut self, due: Due) -> Option<End> {
        match due {
            Due::Authentication => Some(End::Disconnect(DisconnectCode::Stale)),
            Due::Ping => {
                self.member.send(self.format.ping());
                None
            }
            Due::Pong => Some(End::Disconnect(DisconnectCode::NoPong)),
            Due::Expiry => {
                let now = unix_seconds();
                let grace = deadlines::EXPIRY_GRACE.as_secs();
                let over = |expires_at: Option<u64>| {
                    expires_at.is_some_and(|expires_at| expires_at.saturating_add(grace) <= now)
                };
                if self.identity.as_ref().is_some_and(|identity| over(identity.expires_at)) {
                    return Some(End::Disconnect(DisconnectCode::ConnectionExpired));
                }
                for channel in self.subs.expired(over) {
                    self.unsubscribe(&channel, UnsubscribeCode::Expired);
                }
                self.expiry_changed();
                None
            }
        }
    }

    fn goodbye(&self) -> End {
        match self.identity {
            Some(_) => End::Disconnect(DisconnectCode::Shutdown),
            // Those who never spoke the protocol are told in the transport's own words.
            None => End::Transport(1012),
        }
    }

    /// Ends a subscription and says so; the client may subscribe again at once.
    fn unsubscribe(&mut self, channel: &str, code: UnsubscribeCode) {
        if let Some(sub) = self.subs.remove(channel) {
            let name = sub.subscription.channel().name().clone();
            sub.subscription.end(&self.member);
            self.push(&Push::Unsubscribe { channel: name, code });
            self.expiry_changed();
        }
    }

    /// The earliest end of the token and of the permissions.
    fn expiry_changed(&mut self) {
        let token = self.identity.as_ref().and_then(|identity| identity.expires_at);
        let earliest = token.into_iter().chain(self.subs.expiries()).min();
        self.deadlines.expire_at(earliest);
    }

    fn push(&self, push: &Push) {
        self.member.send(self.format.push(push));
    }

    fn send(&self, batch: &mut Batch) {
        if let Some(bytes) = batch.take() {
            self.member.send(bytes);
        }
    }

    /// Leaves every channel, says goodbye, and waits briefly for the client to go.
    pub async fn finish(self, end: End) -> Parting {
        let end = if self.member.was_cut() { End::Cut } else { end };
        self.services.metrics.disconnected(end.label());
        tracing::debug!(?end, "session ended");
        match end {
            End::Gone => return Parting::Taken,
            End::Cut => return Parting::Untaken,
            _ => {}
        }
        self.subs.leave(&self.member, end.leaving());
        drop(self.identity);
        // Who comes back while this client is waited for is not one connection too many.
        drop(self.registered);
        self.member.finish(end.last_frame(self.format).unwrap_or_else(Bytes::new));
        match end::wait_for_peer(&self.member, self.format).await {
            Parting::Taken if end.is_of_deaf() => Parting::Untaken,
            parting => parting,
        }
    }
}
