//! `/metrics` and `/debug/pprof/*`: what only operators see.
//!
//! Profiles are in pprof's format, gzipped, as `go tool pprof` reads them. A CPU profile and the
//! sampling of the heap exclude each other, and one CPU profile runs at a time: the second gets
//! 409. Everything that walks stacks or formats much text runs on a blocking thread.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{StatusCode, header};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

use super::profile::{self, Columns};
use crate::alloc;
use crate::telemetry::Handles;

/// How long a CPU profile may run, in seconds; the caller holds a connection meanwhile.
const SECONDS_MAX: u64 = 60;

/// How long it runs unless told, as Go's does.
const SECONDS_DEFAULT: u64 = 30;

/// The version of the text format (Prometheus, "Exposition formats").
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

#[derive(Debug, Clone)]
struct Operator {
    handles: Handles,
    /// Held while a CPU profile runs, of which the process can have one.
    profiling: Arc<Mutex<()>>,
}

#[derive(Debug, Deserialize)]
struct ProfileQuery {
    seconds: Option<u64>,
}

/// The routes for the port that only operators reach.
pub fn metrics_router<S: Clone + Send + Sync + 'static>(handles: Handles) -> Router<S> {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/debug/pprof/heap", get(heap))
        .route("/debug/pprof/allocs", get(allocs))
        .route("/debug/pprof/profile", get(cpu))
        .with_state(Operator { handles, profiling: Arc::default() })
}

async fn metrics(State(operator): State<Operator>) -> Response {
    match spawn_blocking(move || operator.handles.render()).await {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => failed(&error),
    }
}

async fn heap() -> Response {
    heap_profile(Columns::InUse, "heap.pb.gz").await
}

async fn allocs() -> Response {
    heap_profile(Columns::Accumulated, "allocs.pb.gz").await
}

async fn heap_profile(columns: Columns, file: &'static str) -> Response {
    match spawn_blocking(move || profile::heap(columns)).await {
        Ok(Ok(pprof)) => download(file, pprof),
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error),
    }
}

async fn cpu(State(operator): State<Operator>, Query(query): Query<ProfileQuery>) -> Response {
    let seconds = query.seconds.unwrap_or(SECONDS_DEFAULT);
    if !(1..=SECONDS_MAX).contains(&seconds) {
        let message = format!("seconds: got {seconds}, takes 1 to {SECONDS_MAX}\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let Ok(alone) = operator.profiling.try_lock_owned() else {
        return (StatusCode::CONFLICT, "a CPU profile is running\n").into_response();
    };
    let paused = match alloc::SamplingPaused::begin() {
        Ok(paused) => paused,
        Err(error) => return failed(&error),
    };
    match profile::cpu(Duration::from_secs(seconds), (paused, alone)).await {
        Ok(pprof) => download("profile.pb.gz", pprof),
        Err(error) => failed(&error),
    }
}

fn download(file: &'static str, body: Vec<u8>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{file}\"")),
    ];
    (headers, body).into_response()
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error, "operator request failed");
    (StatusCode::INTERNAL_SERVER_ERROR, "failed, the log says why\n").into_response()
}

#[cfg(test)]
mod tests;
