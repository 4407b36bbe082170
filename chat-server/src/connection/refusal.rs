//! The HTTP answers of a door that stays shut: RFC 9457 problems with a stable code.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use chassis::rate_limit::RetryAfter;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::protocol::ErrorCode;
use crate::session::remote::Unanswered;

/// How long a client waits before it tries a full or leaving server again.
const BUSY_RETRY: Duration = Duration::from_secs(5);

pub(super) fn full(limit: usize) -> Response {
    let detail = format!("all {limit} connections are in use");
    let mut response = busy("connections_max", &detail);
    // The slot it came on is wanted by the next one.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn memory() -> Response {
    let mut response = busy("memory", "there is no memory for more connections");
    // Nor for this one.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

pub(super) fn draining() -> Response {
    busy("draining", "the server is going away")
}

pub(super) fn mailbox_full() -> Response {
    let detail = "too many commands wait for this session";
    later(StatusCode::TOO_MANY_REQUESTS, "commands_waiting", detail, Duration::from_secs(1))
}

pub(super) fn unknown_node() -> Response {
    problem(StatusCode::NOT_FOUND, "node", "there is no such node")
}

/// Commands for another node that it did not take, or not for all this one knows.
pub(super) fn unanswered(why: Unanswered) -> Response {
    let reason = match why {
        Unanswered::UnknownNode => return unknown_node(),
        Unanswered::Away => "nodes_away",
        Unanswered::Late => "node_late",
        Unanswered::Busy => "nodes_busy",
    };
    later(StatusCode::SERVICE_UNAVAILABLE, reason, &why.to_string(), Duration::from_secs(1))
}

pub(super) fn too_many_requests(wait: RetryAfter, limit: u32) -> Response {
    let detail = format!("more than {limit} requests a minute");
    later(StatusCode::TOO_MANY_REQUESTS, "requests_per_minute", &detail, wait.0)
}

/// `got` is how long the body is, if that is known.
pub(super) fn too_large(limit: usize, got: Option<u64>) -> Response {
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    let mut document = document(status, "frame_size", &format!("the frame is over {limit} bytes"));
    document["limit"] = json!(limit);
    if let Some(got) = got {
        document["got"] = json!(got);
    }
    respond(status, &document)
}

pub(super) fn origin() -> Response {
    problem(StatusCode::FORBIDDEN, "origin", "pages of this origin may not call")
}

pub(super) fn internal(detail: &str) -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

/// A problem document; `code` is the protocol's own for the status.
pub(super) fn problem(status: StatusCode, reason: &'static str, detail: &str) -> Response {
    respond(status, &document(status, reason, detail))
}

fn document(status: StatusCode, reason: &'static str, detail: &str) -> Value {
    let code = match status {
        StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT => ErrorCode::BadRequest,
        StatusCode::FORBIDDEN => ErrorCode::PermissionDenied,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::TooManyRequests,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::StoreUnavailable,
        _ => ErrorCode::Internal,
    };
    json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code.code(),
        "reason": reason,
    })
}

fn respond(status: StatusCode, document: &Value) -> Response {
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn busy(reason: &'static str, detail: &str) -> Response {
    later(StatusCode::SERVICE_UNAVAILABLE, reason, detail, BUSY_RETRY)
}

/// The same request may pass after `wait`.
fn later(status: StatusCode, reason: &'static str, detail: &str, wait: Duration) -> Response {
    let mut document = document(status, reason, detail);
    document["retry_after_ms"] = json!(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
    let mut response = respond(status, &document);
    // The header knows whole seconds only.
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    response
}
