//! The WebSocket door: upgrade, take the raw connection back, start the session.

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use chassis::delivery::Wire;
use chassis::websocket::accept;
use http::{Request, Uri};

use super::{Doors, Line};
use crate::outbound::Format;

/// The subprotocol of the binary encoding.
const PROTOBUF: &str = "centrifuge-protobuf";

pub(super) async fn open(State(doors): State<Doors>, mut request: Request<Body>) -> Response {
    let asks_for_protobuf = wants_protobuf(request.uri());
    let (response, upgrade) = match accept(&mut request, &[PROTOBUF]) {
        Ok(accepted) => accepted,
        Err(error) => return error.into_response(),
    };
    let format = match upgrade.protocol.is_some() || asks_for_protobuf {
        true => Format::WebSocketProtobuf,
        false => Format::WebSocketJson,
    };
    let tasks = doors.shutdown.tasks().clone();
    tasks.spawn(async move {
        match upgrade.into_socket().await {
            Ok((socket, early)) => {
                doors.open(Wire::from(socket), format, Line::Socket { early: &early });
            }
            Err(error) => tracing::debug!(%error, "upgrade failed"),
        }
    });
    response
}

fn wants_protobuf(uri: &Uri) -> bool {
    let query = uri.query().unwrap_or_default();
    query.split('&').any(|pair| pair == "cf_protocol=protobuf")
}
