//! The HTTP answers of a door that stays shut: RFC 9457 problems with a stable code.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use chassis::rate_limit::RetryAfter;
use http::{HeaderValue, StatusCode, header};

use crate::protocol::ErrorCode;

/// How long a client waits before it tries a full or leaving server again.
const BUSY_RETRY: Duration = Duration::from_secs(5);

pub(super) fn full(limit: usize) -> Response {
    let detail = format!("all {limit} connections are in use");
    busy(problem(StatusCode::SERVICE_UNAVAILABLE, "connections_max", &detail))
}

pub(super) fn draining() -> Response {
    busy(problem(StatusCode::SERVICE_UNAVAILABLE, "draining", "the server is going away"))
}

pub(super) fn mailbox_full() -> Response {
    let detail = "too many commands wait for this session";
    retry(problem(StatusCode::TOO_MANY_REQUESTS, "commands_waiting", detail), Duration::ZERO)
}

pub(super) fn too_many_requests(wait: RetryAfter, limit: u32) -> Response {
    let detail = format!("more than {limit} requests a minute");
    retry(problem(StatusCode::TOO_MANY_REQUESTS, "requests_per_minute", &detail), wait.0)
}

pub(super) fn internal(detail: &str) -> Response {
    problem(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
}

/// A problem document; `code` is the protocol's own for the status.
pub(super) fn problem(status: StatusCode, reason: &'static str, detail: &str) -> Response {
    let code = match status {
        StatusCode::BAD_REQUEST => ErrorCode::BadRequest,
        StatusCode::NOT_FOUND => ErrorCode::NotFound,
        StatusCode::PAYLOAD_TOO_LARGE => ErrorCode::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::TooManyRequests,
        StatusCode::SERVICE_UNAVAILABLE => ErrorCode::StoreUnavailable,
        _ => ErrorCode::Internal,
    };
    let document = serde_json::json!({
        "type": "about:blank",
        "title": status.canonical_reason(),
        "status": status.as_u16(),
        "detail": detail,
        "code": code.code(),
        "reason": reason,
    });
    let mut response = Response::new(Body::from(document.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn busy(response: Response) -> Response {
    retry(response, BUSY_RETRY)
}

fn retry(mut response: Response, wait: Duration) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0);
    if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
        response.headers_mut().insert(header::RETRY_AFTER, value);
    }
    response
}
