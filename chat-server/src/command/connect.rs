//! Connecting: who it is, and what the server subscribes it to.

use std::sync::Arc;

use chassis::auth::Claims;
use chassis::delivery::Member;
use secrecy::ExposeSecret;
use uuid::Uuid;

use super::subscribe::enter_for_server;
use super::{Entered, Entering, Refusal, Services, ttl, unix_millis};
use crate::channel::ChannelName;
use crate::fanout::bus::Listening;
use crate::nodes::Seat;
use crate::outbound::Format;
use crate::protocol::{
    ClientInfo, Connect, ConnectResult, DisconnectCode, ErrorCode, ErrorReply, Json,
};
use crate::room::say::ERASED;
use crate::session::registry::Registered;

/// A client that is let in.
#[derive(Debug)]
pub struct Connected {
    /// Who it is, as others see it.
    pub info: Arc<ClientInfo>,
    /// When its token ends, in Unix seconds.
    pub expires_at: Option<u64>,
    /// What it is told.
    pub result: ConnectResult,
    /// Where the server subscribed it.
    pub entered: Vec<Entered>,
    /// What other nodes order is heard; `None` when nobody can.
    pub hearing: Option<Listening>,
    /// Its place among the person's connections on all nodes.
    pub seat: Option<Seat>,
}

/// Lets a client in.
///
/// # Errors
/// 101 when there is no token and one is needed, 109 for an expired one, 100 when keys cannot be
/// had, 503 when the feed cannot be entered; every other bad token ends the connection with 3500,
/// too many connections with 4002.
pub async fn connect(
    services: &Services,
    registered: &mut Registered,
    member: &Member,
    format: Format,
    request: &Connect,
) -> Result<Connected, Refusal> {
    let claims = identify(services, request).await?;
    let mut user: Arc<str> = claims.user.as_ref().map_or("", |user| user.as_str()).into();
    if !user.is_empty() {
        user = registered
            .identify(&user, services.limits.connections_per_user)
            .map_err(|_too_many| DisconnectCode::ConnectionLimit)?;
    }
    // Registered first and heard before it is answered: an order that is given to somebody who was
    // answered finds the session.
    let (hearing, seat) =
        tokio::join!(hear_orders(services, &user), seat(services, &user, registered.id()));
    let seat = seat?;
    let client: Arc<str> = registered.id().to_string().into();
    let conn_info = claims.name.as_ref().and_then(named);
    let info = Arc::new(ClientInfo { user, client: client.clone(), conn_info, chan_info: None });
    let entering = Entering { member, format, info: &info };
    let entered = feed(services, entering, request).await?;
    let subs = entered
        .iter()
        .map(|entered| (entered.subscription.channel().name().clone(), entered.result.clone()))
        .collect();
    let session = match format.is_emulated() {
        true => format!("{:032x}", registered.emulate()).into(),
        false => "".into(),
    };
    let result = ConnectResult {
        client,
        version: services.version.clone(),
        ttl: ttl(claims.expires_at),
        subs,
        ping_interval: u32::try_from(services.timing.ping_interval.as_secs().max(1)).unwrap_or(25),
        pong: true,
        session,
        node: services.node.clone(),
        time_ms: i64::try_from(unix_millis()).unwrap_or_default(),
        veza: request.veza,
        ..ConnectResult::default()
    };
    Ok(Connected { info, expires_at: claims.expires_at, result, entered, hearing, seat })
}

async fn identify(services: &Services, request: &Connect) -> Result<Claims, Refusal> {
    let token = request.token.as_ref().filter(|token| !token.expose_secret().is_empty());
    let claims = match token {
        None => Claims::default(),
        Some(token) => services.verify(token).await.map_err(|error| {
            tracing::debug!(reason = error.reason(), "token was refused");
            match error {
                _ if error.is_expired() => ErrorCode::TokenExpired.into(),
                _ if error.is_temporary() => {
                    Refusal::from(ErrorReply::new(ErrorCode::Internal).with_reason(error.reason()))
                }
                _ => DisconnectCode::InvalidToken.into(),
            }
        })?,
    };
    if claims.user.is_none() && !services.anonymous {
        let error = ErrorReply::new(ErrorCode::Unauthorized).with_field("token");
        return Err(error.with_reason("token_required").into());
    }
    if claims.user.as_ref().is_some_and(|user| user.as_str() == ERASED) {
        // Nobody is called what stands in the place of those who are erased.
        return Err(DisconnectCode::InvalidToken.into());
    }
    if claims.channel.is_some() {
        // A token for one channel opens nothing else.
        return Err(DisconnectCode::InvalidToken.into());
    }
    Ok(claims)
}

/// One of the connections that a person may have on all nodes together.
async fn seat(services: &Services, user: &Arc<str>, client: Uuid) -> Result<Option<Seat>, Refusal> {
    match &services.seats {
        Some(seats) if !user.is_empty() => {
            let seat = seats.take(user, client).await;
            Ok(Some(seat.map_err(|_taken| DisconnectCode::ConnectionLimit)?))
        }
        _ => Ok(None),
    }
}

/// Other nodes give orders on the topic of the person's feed: it is listened to for as long as the
/// person is here, even by who left the feed. With the bus away it is heard when that is back.
async fn hear_orders(services: &Services, user: &str) -> Option<Listening> {
    if user.is_empty() {
        return None;
    }
    let hearing = services.bus.listen(ChannelName::of_user(user).shared())?;
    hearing.confirmed().await;
    Some(hearing)
}

/// The person's own feed, continued where the client left off.
async fn feed(
    services: &Services,
    client: Entering<'_>,
    request: &Connect,
) -> Result<Vec<Entered>, Refusal> {
    let info = client.info;
    if info.user.is_empty() {
        return Ok(Vec::new());
    }
    let name = ChannelName::of_user(&info.user);
    let from = request.subs.iter().find(|from| *from.channel == **name.shared());
    Ok(vec![enter_for_server(services, client, &name, from).await?])
}

fn named(name: &String) -> Option<Json> {
    Json::from_value(&serde_json::json!({ "name": name })).ok()
}
