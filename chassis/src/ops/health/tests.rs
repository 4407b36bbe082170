//! What the health routes answer as things change under them.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::telemetry::{Config, logs};

struct Server {
    health: Health,
    shutdown: Shutdown,
    active: Arc<AtomicUsize>,
}

fn server(memory_limit_bytes: u64) -> Server {
    let config = Config {
        service: "test".to_owned(),
        version: "1.2.3".to_owned(),
        memory_limit_bytes,
        log_filter: "off".to_owned(),
        log_format: logs::Format::Json,
    };
    let shutdown = Shutdown::new();
    let active = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&active);
    let count = move || Connections { active: counted.load(Ordering::Relaxed), max: 10 };
    Server { health: Health::new(&config, &shutdown, count), shutdown, active }
}

impl Server {
    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let router: Router = health_router(self.health.clone());
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.oneshot(request).await.unwrap();
        assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn reasons(&self) -> (StatusCode, Vec<String>) {
        let (status, body) = self.get("/health/ready").await;
        let reasons = body["reasons"].as_array().unwrap();
        (status, reasons.iter().map(|one| one["check"].as_str().unwrap().to_owned()).collect())
    }
}

#[tokio::test]
async fn a_fresh_server_is_alive_and_ready() {
    let server = server(u64::MAX);
    assert_eq!(server.get("/health/live").await.0, StatusCode::OK);
    assert_eq!(server.reasons().await, (StatusCode::OK, vec![]));
    let (status, summary) = server.get("/health").await;
    assert_eq!((status, summary["status"].as_str()), (StatusCode::OK, Some("ok")));
    assert_eq!(
        (summary["service"].as_str(), summary["version"].as_str()),
        (Some("test"), Some("1.2.3"))
    );
    assert_eq!(summary["checks"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn readiness_goes_and_returns_with_the_connections_that_are_left() {
    let server = server(u64::MAX);
    server.active.store(10, Ordering::Relaxed);
    assert_eq!(
        server.reasons().await,
        (StatusCode::SERVICE_UNAVAILABLE, vec!["connections".to_owned()])
    );
    assert_eq!(server.get("/health").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(server.get("/health/live").await.0, StatusCode::OK);
    server.active.store(9, Ordering::Relaxed);
    assert_eq!(server.reasons().await, (StatusCode::OK, vec![]));
}

#[tokio::test]
async fn a_draining_server_without_memory_says_both() {
    let server = server(1);
    server.shutdown.trigger();
    let (status, reasons) = server.reasons().await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reasons, ["draining", "memory"]);
    assert!(!server.health.is_ready());
}

#[tokio::test]
async fn a_degraded_dependency_is_told_but_does_not_turn_clients_away() {
    let mut server = server(u64::MAX);
    let probe = || Status::Degraded("far away".to_owned());
    server.health = server.health.with(Check::new("bus", probe));
    let (status, body) = server.get("/health/ready").await;
    assert_eq!((status, body["status"].as_str()), (StatusCode::OK, Some("degraded")));
    assert_eq!(body["reasons"][0]["reason"], "far away");
}

#[tokio::test]
async fn memory_figures_are_real_and_shared_out_over_connections() {
    let server = server(1 << 30);
    let (_, memory) = server.get("/health/memory").await;
    assert!(memory["resident_bytes"].as_u64().unwrap() > 1 << 20);
    assert!(memory["allocator"]["allocated_bytes"].as_u64().unwrap() > 0);
    assert_eq!(memory["limit_bytes"], 1 << 30);
    assert!(memory["resident_bytes_per_connection"].is_null());
    server.active.store(4, Ordering::Relaxed);
    let (_, memory) = server.get("/health/memory").await;
    let resident = memory["resident_bytes"].as_u64().unwrap();
    assert_eq!(memory["resident_bytes_per_connection"].as_u64(), Some(resident / 4));
}
