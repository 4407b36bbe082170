//! `/health`, `/health/live`, `/health/ready` and `/health/memory`, as JSON.
//!
//! Live means that the process answers: nothing is checked, for a restart cures nothing that a
//! check could find. Ready means that new connections are welcome; every check that says no stands
//! in the 503 with its reason. Checks are plain functions that return at once: whoever watches a
//! dependency keeps the last result, so that a health request never waits for anything.

use std::fmt;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, header};
use serde::Serialize;
use tokio::time::Instant;

use crate::alloc;
use crate::shutdown::Shutdown;
use crate::telemetry::resident_bytes;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing is wrong.
    Ok,
    /// Something works less well; new connections are still welcome.
    Degraded(String),
    /// New connections are not welcome.
    Failing(String),
}

/// One reason to be ready or not.
#[derive(Clone)]
pub struct Check {
    name: &'static str,
    probe: Arc<dyn Fn() -> Status + Send + Sync>,
}

/// How many connections there are, and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// Open now.
    pub active: usize,
    /// The most there may be.
    pub max: usize,
}

/// What the health routes tell; clones share it.
#[derive(Clone)]
pub struct Health {
    service: Arc<str>,
    version: Arc<str>,
    started: Instant,
    memory_limit_bytes: u64,
    connections: Arc<dyn Fn() -> Connections + Send + Sync>,
    checks: Arc<[Check]>,
}

#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct Summary<'a> {
    status: &'static str,
    service: &'a str,
    version: &'a str,
    uptime_seconds: u64,
    connections: usize,
    connections_max: usize,
    checks: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Readiness {
    status: &'static str,
    reasons: Vec<Finding>,
}

#[derive(Debug, Serialize)]
struct Memory {
    resident_bytes: u64,
    limit_bytes: u64,
    used_percent: f64,
    allocator: Option<Allocator>,
    connections: usize,
    /// Everything resident, shared out: an upper bound of what a connection costs.
    resident_bytes_per_connection: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Allocator {
    allocated_bytes: usize,
    active_bytes: usize,
    resident_bytes: usize,
    mapped_bytes: usize,
    metadata_bytes: usize,
}

impl Status {
    const fn word(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded(_) => "degraded",
            Self::Failing(_) => "failing",
        }
    }
}

impl Check {
    /// A check by this name, as it stands in answers; `probe` returns at once.
    pub fn new(name: &'static str, probe: impl Fn() -> Status + Send + Sync + 'static) -> Self {
        Self { name, probe: Arc::new(probe) }
    }

    /// Failing from the moment the server begins to go.
    #[must_use]
    pub fn draining(shutdown: &Shutdown) -> Self {
        let draining = shutdown.draining().clone();
        Self::new("draining", move || {
            if draining.is_cancelled() {
                Status::Failing("the server is shutting down".to_owned())
            } else {
                Status::Ok
            }
        })
    }

    /// Failing while every connection is taken.
    pub fn connections(count: impl Fn() -> Connections + Send + Sync + 'static) -> Self {
        Self::new("connections", move || {
            let Connections { active, max } = count();
            if active >= max {
                Status::Failing(format!("{active} of {max} connections are taken"))
            } else {
                Status::Ok
            }
        })
    }

    /// Failing while the process uses all the memory it may.
    #[must_use]
    pub fn memory(limit_bytes: u64) -> Self {
        Self::new("memory", move || match resident_bytes() {
            Ok(used) if used >= limit_bytes => {
                Status::Failing(format!("{used} of {limit_bytes} bytes are used"))
            }
            Ok(_) => Status::Ok,
            Err(error) => Status::Degraded(format!("memory use is unknown: {error}")),
        })
    }

    fn finding(&self) -> Finding {
        let status = (self.probe)();
        let word = status.word();
        let reason = match status {
            Status::Ok => None,
            Status::Degraded(reason) | Status::Failing(reason) => Some(reason),
        };
        Finding { check: self.name, status: word, reason }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Health {
    /// The health of a service with the usual checks: not draining, connections and memory left.
    pub fn new(
        config: &crate::telemetry::Config,
        shutdown: &Shutdown,
        connections: impl Fn() -> Connections + Clone + Send + Sync + 'static,
    ) -> Self {
        let checks = [
            Check::draining(shutdown),
            Check::connections(connections.clone()),
            Check::memory(config.memory_limit_bytes),
        ];
        Self {
            service: config.service.as_str().into(),
            version: config.version.as_str().into(),
            started: Instant::now(),
            memory_limit_bytes: config.memory_limit_bytes,
            connections: Arc::new(connections),
            checks: Arc::new(checks),
        }
    }

    /// The same with one more check.
    #[must_use]
    pub fn with(mut self, check: Check) -> Self {
        self.checks = self.checks.iter().cloned().chain([check]).collect();
        self
    }

    /// Whether new connections are welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.checks.iter().any(|check| matches!((check.probe)(), Status::Failing(_)))
    }

    fn findings(&self) -> (StatusCode, &'static str, Vec<Finding>) {
        let findings: Vec<Finding> = self.checks.iter().map(Check::finding).collect();
        let any = |word| findings.iter().any(|finding| finding.status == word);
        let (code, word) = if any("failing") {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        } else if any("degraded") {
            (StatusCode::OK, "degraded")
        } else {
            (StatusCode::OK, "ok")
        };
        (code, word, findings)
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health")
            .field("service", &self.service)
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

/// The routes under `/health`.
pub fn health_router<S: Clone + Send + Sync + 'static>(health: Health) -> Router<S> {
    Router::new()
        .route("/health", get(summary))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/memory", get(memory))
        .with_state(health)
}

async fn summary(State(health): State<Health>) -> Response {
    let (code, status, checks) = health.findings();
    let Connections { active, max } = (health.connections)();
    let summary = Summary {
        status,
        service: &health.service,
        version: &health.version,
        uptime_seconds: health.started.elapsed().as_secs(),
        connections: active,
        connections_max: max,
        checks,
    };
    answer(code, &summary)
}

async fn live() -> Response {
    answer(StatusCode::OK, &Readiness { status: "alive", reasons: Vec::new() })
}

async fn ready(State(health): State<Health>) -> Response {
    let (code, status, mut reasons) = health.findings();
    reasons.retain(|finding| finding.reason.is_some());
    answer(code, &Readiness { status, reasons })
}

async fn memory(State(health): State<Health>) -> Response {
    let resident_bytes = match resident_bytes() {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "memory use could not be read");
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
    };
    let Connections { active, .. } = (health.connections)();
    let limit_bytes = health.memory_limit_bytes;
    let memory = Memory {
        resident_bytes,
        limit_bytes,
        used_percent: resident_bytes as f64 / limit_bytes.max(1) as f64 * 100.0,
        allocator: alloc::Stats::read().ok().map(Allocator::from),
        connections: active,
        resident_bytes_per_connection: resident_bytes.checked_div(active as u64),
    };
    answer(StatusCode::OK, &memory)
}

impl From<alloc::Stats> for Allocator {
    fn from(stats: alloc::Stats) -> Self {
        Self {
            allocated_bytes: stats.allocated,
            active_bytes: stats.active,
            resident_bytes: stats.resident,
            mapped_bytes: stats.mapped,
            metadata_bytes: stats.metadata,
        }
    }
}

/// An answer that is true now and that nobody may keep.
fn answer(code: StatusCode, body: &impl Serialize) -> Response {
    (code, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

#[cfg(test)]
mod tests;
