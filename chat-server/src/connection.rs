//! The doors for clients: WebSocket, and two fallbacks for networks that break it.
//!
//! Each door turns an HTTP request into a [`chassis::delivery::Wire`] and a session behind it;
//! after that no session knows which door it was. Nothing of the protocol is decided here.

mod emulation;
mod refusal;
mod stream;
mod websocket;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{any, get, post};
use chassis::accept::{Admitted, Hangup, Peer};
use chassis::delivery::Wire;
use chassis::pressure::{Memory, Pressure};
use chassis::shutdown::Shutdown;
use http::header;
use http::uri::Authority;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use crate::command::Services;
use crate::config::Cors;
use crate::metrics::Refused;
use crate::nodes::ClientRate;
use crate::outbound::Format;
use crate::session::registry::{Directive, Handle};
use crate::session::{Parting, Session};

/// What the doors work with.
#[derive(Debug, Clone)]
pub struct Doors {
    /// What sessions work with.
    pub services: Arc<Services>,
    /// Where sessions live, and when they end.
    pub shutdown: Shutdown,
    /// Requests of each client; `None` behind a proxy, whose address all of them have.
    pub requests: Option<Arc<ClientRate>>,
    /// How near the process is to its limits.
    pub pressure: Arc<Pressure>,
    /// Which web pages may call.
    pub cors: Arc<Cors>,
}

/// What is behind a session's wire.
#[derive(Debug)]
enum Line<'a> {
    /// A connection of its own, and what the client sent on it already.
    Socket { early: &'a [u8] },
    /// The response of a request on a connection that is not the session's.
    Response { hangup: Hangup },
}

/// The routes of all doors.
pub fn router(doors: Doors) -> Router {
    Router::new()
        .route("/connection/websocket", any(websocket::open))
        .route("/connection/sse", get(stream::open_sse))
        .route("/connection/http_stream", post(stream::open_http_stream))
        .route("/emulation", post(emulation::receive))
        .layer(axum::middleware::from_fn_with_state(doors.clone(), admit))
        .with_state(doors)
}

/// Turns away who has no slot or asks too often, before anything of the request is read.
async fn admit(State(doors): State<Doors>, request: Request<Body>, next: Next) -> Response {
    let Some(peer) = request.extensions().get::<Peer>().copied() else {
        return refusal::internal("the connection has no address");
    };
    // Commands of clients that are in are taken to the end; only opening is refused.
    let opens = request.uri().path() != "/emulation";
    let refused = match doors.refusal(&request, opens.then_some(peer)) {
        None if opens => doors.count_request(&peer).await.err().map(|it| (Refused::Rate, *it)),
        refused => refused,
    };
    if let Some((reason, response)) = refused {
        doors.services.metrics.series.refused.of(reason).increment(1);
        return response;
    }
    next.run(request).await
}

/// Browsers let any page open a WebSocket and leave it to the server whether it may. A page of the
/// server's own host always may; what is no browser names no origin.
fn is_welcome(cors: &Cors, request: &Request<Body>) -> bool {
    let Some(origin) = request.headers().get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let named = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let host = named.or(request.uri().authority().map(Authority::as_str));
    let page = origin.split_once("://").map(|(_scheme, page)| page);
    cors.allows(origin)
        || page.zip(host).is_some_and(|(page, host)| page.eq_ignore_ascii_case(host))
}

impl Doors {
    /// Why a request is turned away as things stand; `opening` is who wants to come in. What costs
    /// least to find out is looked at first.
    fn refusal(
        &self,
        request: &Request<Body>,
        opening: Option<Peer>,
    ) -> Option<(Refused, Response)> {
        if let Some(peer) = opening {
            if self.shutdown.is_draining() {
                return Some((Refused::Draining, refusal::draining()));
            }
            // Before slots: with memory at its end, nobody has one.
            if self.pressure.memory() > Memory::Enough {
                return Some((Refused::Memory, refusal::memory()));
            }
            if peer.admitted == Admitted::Spare || self.is_full() {
                let full = refusal::full(self.services.limits.connections_max);
                return Some((Refused::Connections, full));
            }
        }
        (!is_welcome(&self.cors, request)).then(|| (Refused::Origin, refusal::origin()))
    }

    /// One more request of a client. Commands of a session have limits of their own: only what
    /// opens or reaches none is counted.
    async fn count_request(&self, peer: &Peer) -> Result<(), Box<Response>> {
        let Some(requests) = &self.requests else { return Ok(()) };
        let limit = self.services.limits.requests_per_minute;
        let counted = requests.check(peer.client()).await;
        counted.map_err(|wait| Box::new(refusal::too_many_requests(wait, limit)))
    }

    /// One HTTP/2 connection may carry many sessions, so slots of connections are not enough.
    fn is_full(&self) -> bool {
        self.services.registry.count() >= self.services.limits.connections_max
    }

    /// Starts the session of a connection.
    fn open(&self, wire: Wire, format: Format, line: Line<'_>) -> Arc<Handle> {
        let member = self.services.hub.delivery().join(wire);
        let transport = format.transport();
        let (early, hangup) = match line {
            Line::Socket { early } => (early, None),
            Line::Response { hangup } => (&[][..], Some(hangup)),
        };
        let session = Session::new(self.services.clone(), member, format, transport, early);
        let mailbox = session.mailbox().clone();
        // Whoever says goodbye to all may not have seen this one any more.
        if self.shutdown.is_draining() && mailbox.tell(Directive::Goodbye).is_err() {
            tracing::debug!("a session could not be told");
        }
        let span = tracing::debug_span!("session", transport = ?transport);
        let life = life(session, self.shutdown.forced().clone(), hangup);
        // A span that nobody listens to would have its room in every task all the same.
        match span.is_disabled() {
            true => drop(self.shutdown.tasks().spawn(life)),
            false => drop(self.shutdown.tasks().spawn(life.instrument(span))),
        }
        mailbox
    }
}

/// From the first word to the last one, unless all must end before that. This is what there is of
/// every connection, so the session stands in it once, and in place.
#[expect(clippy::manual_async_fn, reason = "its arguments would stand in it twice")]
pub(crate) fn life(
    mut session: Session,
    forced: CancellationToken,
    hangup: Option<Hangup>,
) -> impl Future<Output = ()> + Send {
    async move {
        let end = tokio::select! {
            biased;
            () = forced.cancelled() => None,
            end = session.run() => Some(end),
        };
        let parting = match end {
            None => Parting::Untaken,
            Some(end) => tokio::select! {
                biased;
                () = forced.cancelled() => Parting::Untaken,
                // On the heap: it comes once.
                parting = Box::pin(session.finish(end)) => parting,
            },
        };
        // A response that nobody takes would keep its connection and the slot for ever.
        if let (Parting::Untaken, Some(hangup)) = (parting, hangup) {
            hangup.now();
        }
    }
}
