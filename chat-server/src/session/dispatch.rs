//! From a frame to commands, and from their outcomes to replies.
//!
//! Commands of a frame run in order and their replies leave in one frame. A reply to `subscribe`
//! leaves before anything of its channel: it is queued, then the rest of what was missed, then the
//! channel is released. Whatever a client asks for, no more is queued while most of what it got
//! before is unread; one that reads nothing for the length of a ping interval is slow.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::end::End;
use super::{Identity, MadeBy, Session, Sub, UNREAD_REPLIES_MAX};
use crate::channel::ChannelName;
use crate::command::{self, Caller, Entered, Entering, Post, Refusal, Start};
use crate::metrics::Method;
use crate::outbound::Batch;
use crate::protocol::{
    Command, Connect, DecodeError, DisconnectCode, ErrorReply, Incoming, Json, Publication, Push,
    Reply, ReplyBody, Request, Subscribe, UnsubscribeCode, decode,
};
use crate::store;

/// Missed publications that are queued at once.
const RECOVERY_PUBLICATIONS: usize = 32;

/// How often a client that is waited for is looked after.
const UNREAD_LOOK: Duration = Duration::from_millis(250);

/// Every command is answered within four seconds: SDKs give up after five.
const COMMAND_TIMEOUT: Duration = Duration::from_millis(3800);

/// Typing is stale before it is known who is typing: other commands do not wait for that.
const TYPING_TIMEOUT: Duration = Duration::from_millis(500);

/// Refused commands a second that are still answered; and the burst of them: SDKs that subscribe
/// to everything they should not must not be cut for it.
const ERRORS_PER_SECOND: u32 = 100;
const ERRORS_BURST: u32 = 1000;

impl Session {
    /// Runs the commands of one frame.
    pub(super) async fn handle(&mut self, frame: &[u8]) -> Option<End> {
        if self.refused {
            return None;
        }
        let mut batch = Batch::new(self.format);
        let end = self.commands(frame, &mut batch).await;
        self.send(&mut batch);
        end
    }

    async fn commands(&mut self, frame: &[u8], batch: &mut Batch) -> Option<End> {
        for incoming in decode(self.format.encoding(), frame) {
            let (id, result) = match incoming {
                Ok(Incoming::Pong) => {
                    self.deadlines.ponged();
                    continue;
                }
                Ok(Incoming::Command(command)) => (command.id, self.command(command, batch).await),
                Err(DecodeError::Disconnect(code)) => return Some(End::Disconnect(code)),
                Err(DecodeError::Refuse { id, error }) => (id, Err(error.into())),
            };
            match result {
                Ok(Some(body)) => batch.reply(&Reply::ok(id, body)),
                Ok(None) => {}
                Err(Refusal::Disconnect(code)) => return Some(End::Disconnect(code)),
                Err(Refusal::Error(error)) => {
                    if let Some(end) = self.refuse(id, error, batch) {
                        return Some(end);
                    }
                }
            }
            if self.refused {
                return self.format.is_emulated().then_some(End::Refused);
            }
            if batch.len() > UNREAD_REPLIES_MAX {
                self.send(batch);
                if let Err(slow) = self.drained().await {
                    return Some(End::Disconnect(slow));
                }
            }
        }
        None
    }

    /// Waits until the client has read most of what it asked for. One that reads on, however
    /// slowly, is waited for; one that reads nothing for the length of a ping interval is slow.
    /// Who must go is not waited for: the session hears of it next.
    pub(super) async fn drained(&self) -> Result<(), DisconnectCode> {
        // Nearly always: no clock is asked.
        if self.member.unread() <= UNREAD_REPLIES_MAX {
            return Ok(());
        }
        Box::pin(self.drained_in_time()).await
    }

    async fn drained_in_time(&self) -> Result<(), DisconnectCode> {
        let (mut unread, mut since) = (usize::MAX, Instant::now());
        loop {
            let drained = self.member.drained(UNREAD_REPLIES_MAX);
            if tokio::time::timeout(UNREAD_LOOK, drained).await.is_ok() {
                return Ok(());
            }
            if self.registered.handle().is_ending() {
                return Ok(());
            }
            let now = self.member.unread();
            if now < unread {
                (unread, since) = (now, Instant::now());
            } else if since.elapsed() >= self.services.timing.ping_interval {
                return Err(DisconnectCode::Slow);
            }
        }
    }

    fn refuse(&mut self, id: u32, error: ErrorReply, batch: &mut Batch) -> Option<End> {
        // Without an id there is nobody who waits for an answer.
        if id > 0 {
            batch.reply(&Reply::error(id, error));
        }
        if self.identity.is_none() {
            self.refused = true;
        }
        self.count_error().err().map(End::Disconnect)
    }

    fn count_error(&mut self) -> Result<(), DisconnectCode> {
        let quota = command::quota(ERRORS_PER_SECOND, ERRORS_BURST);
        let counted = self.errors.take(quota, Instant::now());
        counted.map_err(|_too_many| DisconnectCode::TooManyErrors)
    }

    async fn command(
        &mut self,
        command: Command,
        batch: &mut Batch,
    ) -> Result<Option<ReplyBody>, Refusal> {
        self.services.metrics.series.commands.of(method(&command.request)).increment(1);
        if self.identity.is_none() {
            let Request::Connect(request) = command.request else {
                return Err(DisconnectCode::BadRequest.into());
            };
            Box::pin(self.connect(command.id, &request, batch)).await?;
            return Ok(None);
        }
        // What is rarer than a publication lives on the heap, so that none carries room for it.
        match command.request {
            // A second connect is a client that has lost its way.
            Request::Connect(_) => Err(DisconnectCode::BadRequest.into()),
            Request::Publish { channel, data } => {
                let caller = caller(&self.identity, &self.subs)?;
                self.services.count_publish(caller.info, &mut self.publishes)?;
                let post = Post { channel, data };
                let result = in_time(command::publish(&self.services, caller, &post)).await?;
                Ok(Some(ReplyBody::Publish(result)))
            }
            other => {
                self.count_command(&other)?;
                Box::pin(self.other(command.id, other, batch)).await
            }
        }
    }

    async fn other(
        &mut self,
        id: u32,
        request: Request,
        batch: &mut Batch,
    ) -> Result<Option<ReplyBody>, Refusal> {
        let body = match request {
            Request::Subscribe(request) => {
                self.subscribe(id, &request, batch).await?;
                return Ok(None);
            }
            Request::Unsubscribe { channel } => self.leave(&channel)?,
            Request::Refresh { token } => self.refresh(token.as_ref()).await?,
            Request::SubRefresh { channel, token } => {
                self.sub_refresh(&channel, token.as_ref()).await?
            }
            Request::Ping => ReplyBody::Ping,
            Request::Send { data } => {
                self.heed(data.as_ref()).await?;
                return Ok(None);
            }
            question => return self.answer(question).await,
        };
        Ok(Some(body))
    }

    /// What a client asks for, or has done, that changes nothing of its connection.
    async fn answer(&self, question: Request) -> Result<Option<ReplyBody>, Refusal> {
        let (services, caller) = (&self.services, caller(&self.identity, &self.subs)?);
        Ok(Some(match question {
            Request::Presence { channel } => {
                ReplyBody::Presence(in_time(command::presence(services, caller, &channel)).await?)
            }
            Request::PresenceStats { channel } => {
                let stats = command::presence_stats(services, caller, &channel);
                ReplyBody::PresenceStats(in_time(stats).await?)
            }
            Request::History(request) => {
                ReplyBody::History(in_time(command::history(services, caller, &request)).await?)
            }
            Request::Rpc { method, data } => {
                let called = command::rpc(services, caller, &method, data.as_ref());
                ReplyBody::Rpc { data: Some(in_time(called).await?) }
            }
            // The others are no questions.
            _ => return Ok(None),
        }))
    }

    async fn subscribe(
        &mut self,
        id: u32,
        request: &Subscribe,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let (services, caller) = (&self.services, caller(&self.identity, &self.subs)?);
        let subscribed = command::subscribe(services, caller, &self.member, self.format, request);
        let entered = in_time(subscribed).await?;
        batch.reply(&Reply::ok(id, ReplyBody::Subscribe(Box::new(entered.result.clone()))));
        self.enter(entered, MadeBy::Client, batch).await?;
        self.expiry_changed();
        self.check_again(&request.channel).await;
        Ok(())
    }

    fn leave(&mut self, channel: &str) -> Result<ReplyBody, Refusal> {
        match self.subs.remove(channel) {
            Some(sub) => {
                sub.subscription.end(&self.member);
                self.expiry_changed();
            }
            // It succeeds, for SDKs take an error for a broken connection, but it counts.
            None => self.count_error()?,
        }
        Ok(ReplyBody::Unsubscribe)
    }

    /// What is sent without an answer.
    async fn heed(&self, data: Option<&Json>) -> Result<(), Refusal> {
        let caller = caller(&self.identity, &self.subs)?;
        if let Some(data) = data {
            // Nobody waits for it, and the next command must not.
            let typing = command::typing(&self.services, caller, data);
            let _late = tokio::time::timeout(TYPING_TIMEOUT, typing).await;
        }
        Ok(())
    }

    async fn connect(
        &mut self,
        id: u32,
        request: &Connect,
        batch: &mut Batch,
    ) -> Result<(), Refusal> {
        let (registered, member) = (&mut self.registered, &self.member);
        let connected =
            in_time(command::connect(&self.services, registered, member, self.format, request));
        let connected = connected.await?;
        if request.veza.lag {
            self.member.grant_markers();
        }
        self.granted = request.veza;
        self.deadlines.authenticated();
        let (info, expires_at) = (connected.info, connected.expires_at);
        let (_hearing, _seat) = (connected.hearing, connected.seat);
        let identity = Identity { info, expires_at, _hearing, _seat };
        self.identity = Some(Box::new(identity));
        batch.reply(&Reply::ok(id, ReplyBody::Connect(Box::new(connected.result))));
        for entered in connected.entered {
            self.enter(entered, MadeBy::Server, batch).await?;
        }
        self.expiry_changed();
        Ok(())
    }

    /// Sends what is queued and what was missed beyond the first page, then lets the channel in;
    /// who is far behind is sent the rest of the log first.
    async fn enter(
        &mut self,
        entered: Entered,
        made_by: MadeBy,
        batch: &mut Batch,
    ) -> Result<(), DisconnectCode> {
        self.send(batch);
        let Entered { subscription, rest, start, expires_at, .. } = entered;
        let channel = subscription.channel().name().clone();
        for publications in rest.chunks(RECOVERY_PUBLICATIONS) {
            self.drained().await?;
            self.send_missed(&channel, publications, batch);
        }
        let catch_up = match start {
            Start::Behind(after) => {
                subscription.release(&self.member, after);
                None
            }
            Start::CatchUp(after) => Some(after),
        };
        let sub = Sub { subscription, expires_at, made_by, catch_up };
        self.subs.insert(sub).subscription.announce();
        Ok(())
    }

    /// What was allowed before the client entered may be so no longer, and it was not there yet
    /// when others were put out.
    async fn check_again(&mut self, channel: &str) {
        let Some(identity) = &self.identity else { return };
        let may_stay = command::may_stay(&self.services, &identity.info, channel);
        // Without an answer of the store, what it said a moment ago stands.
        if !tokio::time::timeout(COMMAND_TIMEOUT, may_stay).await.unwrap_or(true) {
            self.unsubscribe(channel, UnsubscribeCode::Server);
        }
    }

    pub(super) fn send_missed(
        &self,
        channel: &Arc<str>,
        publications: &[Publication],
        batch: &mut Batch,
    ) {
        for publication in publications {
            let (channel, publication) = (channel.clone(), publication.clone());
            batch.push(&Push::Pub { channel, publication });
        }
        self.send(batch);
    }

    /// A subscription made by the server, told by a push.
    pub(super) async fn subscribe_for_server(
        &mut self,
        channel: &str,
    ) -> Result<(), DisconnectCode> {
        let Some(identity) = &self.identity else { return Ok(()) };
        let Ok(name) = ChannelName::parse(channel) else { return Ok(()) };
        if self.subs.find(channel).is_some() {
            return Ok(());
        }
        let client = Entering { member: &self.member, format: self.format, info: &identity.info };
        let entered = in_time(command::enter_for_server(&self.services, client, &name, None)).await;
        let Ok(entered) = entered else {
            tracing::warn!(
                reason = "no such channel, or no store",
                "the server could not subscribe"
            );
            return Ok(());
        };
        let result = &entered.result;
        let mut batch = Batch::new(self.format);
        batch.push(&Push::Subscribe {
            channel: name.shared().clone(),
            recoverable: result.recoverable,
            positioned: result.positioned,
            epoch: result.epoch.clone(),
            offset: result.offset,
            data: None,
        });
        self.enter(entered, MadeBy::Server, &mut batch).await
    }

    /// Leaving is free: a client that must slow down may always give something up.
    fn count_command(&mut self, request: &Request) -> Result<(), Refusal> {
        if matches!(request, Request::Unsubscribe { .. }) {
            return Ok(());
        }
        let counted = self.commands.take(self.services.command_quota(), Instant::now());
        counted.map_err(|wait| {
            command::too_fast(wait, "command_rate", self.services.limits.command_rate)
        })
    }
}

/// What a command came to, or that nothing came of it in time.
pub(super) async fn in_time<T>(
    command: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut command = pin!(command);
    // What waits for nobody needs no clock.
    let at_once = poll_fn(|cx| Poll::Ready(command.as_mut().poll(cx)));
    if let Poll::Ready(done) = at_once.await {
        return done;
    }
    tokio::time::timeout(COMMAND_TIMEOUT, command)
        .await
        .unwrap_or_else(|_elapsed| Err(store::Error::late().into()))
}

pub(super) fn caller<'a>(
    identity: &'a Option<Box<Identity>>,
    subs: &'a super::Subs,
) -> Result<Caller<'a>, Refusal> {
    let identity = identity.as_ref().ok_or(DisconnectCode::BadRequest)?;
    Ok(Caller { info: &identity.info, subs })
}

fn method(request: &Request) -> Method {
    match request {
        Request::Connect(_) => Method::Connect,
        Request::Subscribe(_) => Method::Subscribe,
        Request::Unsubscribe { .. } => Method::Unsubscribe,
        Request::Publish { .. } => Method::Publish,
        Request::Presence { .. } => Method::Presence,
        Request::PresenceStats { .. } => Method::PresenceStats,
        Request::History(_) => Method::History,
        Request::Ping => Method::Ping,
        Request::Send { .. } => Method::Send,
        Request::Rpc { .. } => Method::Rpc,
        Request::Refresh { .. } => Method::Refresh,
        Request::SubRefresh { .. } => Method::SubRefresh,
    }
}
