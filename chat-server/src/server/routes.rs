//! What each port serves.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chassis::ops::{Connections, Health, Requests, health_router, metrics_router};
use chassis::rate_limit::Quota;
use http::{HeaderValue, Method, header};
use secrecy::ExposeSecret;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::Server;
use crate::command::at_least_one;
use crate::config::{Cors, Origins};
use crate::connection::{self, Doors};
use crate::nodes::ClientRate;

/// How long a browser may keep the answer to a preflight.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(3600);

/// Connections are open for hours: their durations would hide those of requests.
const UNMEASURED: &[&str] = &["/connection", "/emulation"];

pub(super) struct Routes {
    /// PORT.
    pub(super) everything: Router,
    /// `WS_PORT`.
    pub(super) connections: Router,
    /// `PROMETHEUS_PORT`.
    pub(super) metrics: Router,
}

impl Routes {
    pub(super) fn of(server: &Server) -> Self {
        let Server { config, services, admission, shutdown, telemetry, .. } = server;
        let quota = Quota::per_minute(at_least_one(config.limits.requests_per_minute));
        let requests = match &services.nodes {
            None => ClientRate::new(quota),
            Some(nodes) => {
                let secret = config.auth.secret.expose_secret().as_bytes();
                ClientRate::shared(quota, nodes.clone(), secret)
            }
        };
        let doors = connection::router(Doors {
            services: services.clone(),
            shutdown: shutdown.clone(),
            requests: (!config.tls_terminated_upstream).then(|| Arc::new(requests)),
            pressure: server.pressure.clone(),
            cors: Arc::new(config.cors.clone()),
        });
        let doors = doors.layer(cors(&config.cors));
        let admission = admission.clone();
        let count =
            move || Connections { active: admission.open(), max: admission.connections_max() };
        let store = services.store.health(config.store.away_max);
        let health = Health::new(&config.telemetry, shutdown, count).with(store);
        let health = health.with(server.pressure.memory_check()).with(server.pressure.cpu_check());
        let mut health = health.with(services.bus.health());
        if let Some(heart) = &server.heart {
            health = health.with(heart.health());
        }
        let health = health_router(health);
        let everything = doors.clone().merge(health);
        Self {
            everything: Requests::new(telemetry, UNMEASURED).around(everything),
            connections: doors,
            metrics: metrics_router(telemetry.clone()),
        }
    }
}

fn cors(cors: &Cors) -> CorsLayer {
    if !cors.enabled {
        return CorsLayer::new();
    }
    let origins = match &cors.allowed_origins {
        Origins::Any => AllowOrigin::any(),
        Origins::Only(list) => {
            AllowOrigin::list(list.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
        }
    };
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION])
        .max_age(PREFLIGHT_MAX_AGE)
}
