//! From an HTTP request to the raw connection.
//!
//! [`accept`] checks the request as RFC 6455 section 4.2.1 asks and answers 101; the returned
//! [`Upgrade`] is then awaited by a task of its own, for hyper hands the connection over only
//! after the response has left. What the client sent along with its request comes back too.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::upgrade::downcast;
use tokio_tungstenite::tungstenite::handshake::server::create_response;

use crate::accept::Socket;

/// A connection on its way from hyper to the service.
#[derive(Debug)]
pub struct Upgrade {
    on_upgrade: OnUpgrade,
    /// The subprotocol that was chosen and echoed.
    pub protocol: Option<&'static str>,
}

/// Why there was no upgrade.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The request is none for a WebSocket; the text names what is missing.
    #[error("not a WebSocket request: {0}")]
    Request(String),
    /// The client speaks another version than 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// hyper did not hand the connection over: the client went away.
    #[error("connection went away during the upgrade")]
    Gone(#[source] hyper::Error),
    /// The connection did not come from [`crate::accept`].
    #[error("connection is of an unknown kind")]
    Foreign,
}

/// Checks `request` and prepares the 101 response; `offered` are the subprotocols spoken here,
/// the first that the client lists is echoed, and none is no error.
///
/// # Errors
/// [`UpgradeError::Request`] or [`UpgradeError::Version`]; both are responses (400 and 426).
pub fn accept(
    request: &mut Request<Body>,
    offered: &[&'static str],
) -> Result<(Response, Upgrade), UpgradeError> {
    let headers = request.headers();
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_some_and(|version| version != "13") {
        return Err(UpgradeError::Version);
    }
    let protocol = chosen(headers.get_all(header::SEC_WEBSOCKET_PROTOCOL), offered);
    let mut plain = Request::builder()
        .method(request.method().clone())
        .uri(request.uri().clone())
        .version(request.version())
        .body(())
        .map_err(|error| UpgradeError::Request(error.to_string()))?;
    plain.headers_mut().clone_from(headers);
    let response =
        create_response(&plain).map_err(|error| UpgradeError::Request(error.to_string()))?;
    let mut response = response.map(|()| Body::empty());
    if let Some(protocol) = protocol {
        let value = HeaderValue::from_static(protocol);
        response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, value);
    }
    let on_upgrade = hyper::upgrade::on(request);
    Ok((response, Upgrade { on_upgrade, protocol }))
}

fn chosen(
    listed: header::GetAll<'_, HeaderValue>,
    offered: &[&'static str],
) -> Option<&'static str> {
    listed
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|name| offered.iter().copied().find(|ours| *ours == name.trim()))
}

impl Upgrade {
    /// Waits until the 101 response has left and takes the raw connection back, with the bytes
    /// that the client sent behind its request.
    ///
    /// # Errors
    /// [`UpgradeError::Gone`] when the client went away first.
    pub async fn into_socket(self) -> Result<(Socket, Bytes), UpgradeError> {
        let upgraded = self.on_upgrade.await.map_err(UpgradeError::Gone)?;
        let parts =
            downcast::<TokioIo<Socket>>(upgraded).map_err(|_other| UpgradeError::Foreign)?;
        Ok((parts.io.into_inner(), parts.read_buf))
    }
}

impl IntoResponse for UpgradeError {
    fn into_response(self) -> Response {
        let status = match self {
            Self::Version => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        };
        let mut response = (status, self.to_string()).into_response();
        if status == StatusCode::UPGRADE_REQUIRED {
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        }
        response
    }
}
