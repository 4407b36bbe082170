//! The fallback doors: a response body that never ends, down which everything flows.
//!
//! The request carries the `connect` command; what follows comes by `/emulation`. When the client
//! drops the response, the body tells the session.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::{Query, State};
use axum::response::Response;
use bytes::Bytes;
use chassis::accept::Hangup;
use chassis::delivery::Wire;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Deserialize;
use tokio::io::DuplexStream;
use tokio_util::io::ReaderStream;

use super::{Doors, Line, refusal};
use crate::outbound::Format;
use crate::session::registry::{Directive, Handle};

/// What a response body holds that its connection has not taken: the kernel keeps as much again.
const PIPE_BYTES: usize = 32 * 1024;

#[derive(Debug, Deserialize)]
pub(super) struct Parameters {
    cf_connect: Option<String>,
}

/// The body of the response; dropping it ends the session.
#[derive(Debug)]
struct Downstream {
    bytes: ReaderStream<DuplexStream>,
    mailbox: Arc<Handle>,
}

/// `GET /connection/sse?cf_connect=<connect command>`.
pub(super) async fn open_sse(
    State(doors): State<Doors>,
    Extension(hangup): Extension<Hangup>,
    Query(parameters): Query<Parameters>,
) -> Response {
    let limit = doors.services.limits.frame_bytes_max;
    match parameters.cf_connect {
        None => missing_connect("cf_connect is missing"),
        Some(connect) if connect.len() > limit => {
            refusal::too_large(limit, Some(connect.len() as u64))
        }
        Some(connect) => respond(&doors, Bytes::from(connect), Format::SseJson, hangup),
    }
}

/// `POST /connection/http_stream` with the connect command as its body.
pub(super) async fn open_http_stream(
    State(doors): State<Doors>,
    Extension(hangup): Extension<Hangup>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let first = match read(&doors, body, doors.services.limits.frame_bytes_max).await {
        Ok(first) => first,
        Err(refusal) => return refusal,
    };
    if first.is_empty() {
        return missing_connect("the body must be a connect command");
    }
    let format = match is_protobuf(&headers) {
        true => Format::StreamProtobuf,
        false => Format::StreamJson,
    };
    respond(&doors, first, format, hangup)
}

/// A body of at most `limit` bytes that arrives whole and in time, or the answer to any other.
pub(super) async fn read(doors: &Doors, body: Body, limit: usize) -> Result<Bytes, Response> {
    let got = body.size_hint().exact();
    let whole = Limited::new(body, limit).collect();
    match tokio::time::timeout(doors.services.timing.header_timeout, whole).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(refusal::too_large(limit, got)),
        Ok(Err(_broken)) => {
            Err(refusal::problem(StatusCode::BAD_REQUEST, "body", "the body broke off"))
        }
        Err(_elapsed) => {
            let detail = "the body did not arrive in time";
            Err(refusal::problem(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail))
        }
    }
}

pub(super) fn is_protobuf(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("application/octet-stream"))
}

fn respond(doors: &Doors, first: Bytes, format: Format, hangup: Hangup) -> Response {
    let content_type = match format {
        Format::SseJson => "text/event-stream",
        Format::StreamJson => "application/json",
        _ => "application/octet-stream",
    };
    let (wire, down) = Wire::pipe(PIPE_BYTES);
    let mailbox = doors.open(wire, format, Line::Response { hangup });
    if mailbox.tell(Directive::Frame(first)).is_err() {
        return refusal::mailbox_full();
    }
    let bytes = ReaderStream::new(down);
    let mut response = Response::new(Body::from_stream(Downstream { bytes, mailbox }));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache, no-store"));
    // Proxies that buffer would hold messages back until they have enough.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

fn missing_connect(detail: &str) -> Response {
    refusal::problem(StatusCode::BAD_REQUEST, "connect_missing", detail)
}

impl Stream for Downstream {
    type Item = std::io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.bytes).poll_next(cx)
    }
}

impl Drop for Downstream {
    fn drop(&mut self) {
        // What ends a session always gets into its mailbox.
        if self.mailbox.tell(Directive::Gone).is_err() {
            tracing::debug!("a session could not be told that its client is gone");
        }
    }
}
