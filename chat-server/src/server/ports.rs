//! The ports of a server: bound together or not at all.

use std::net::{IpAddr, SocketAddr};

use chassis::accept::Listener;

use super::Error;
use crate::config::Config;

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// Everything over HTTP.
    pub http: SocketAddr,
    /// Connections alone.
    pub connections: SocketAddr,
    /// Metrics and profiles.
    pub metrics: Option<SocketAddr>,
    /// Whether the first two speak TLS.
    pub tls: bool,
}

#[derive(Debug)]
pub(super) struct Ports {
    pub(super) http: Listener,
    pub(super) connections: Listener,
    pub(super) metrics: Option<Listener>,
    pub(super) addresses: Addresses,
}

impl Ports {
    pub(super) fn bind(config: &Config) -> Result<Self, Error> {
        let (http, http_at) = bind("PORT", config.host, config.port)?;
        let (connections, connections_at) = bind("WS_PORT", config.host, config.ws_port)?;
        let bound = config
            .metrics_enabled
            .then(|| bind("PROMETHEUS_PORT", config.metrics_host, config.prometheus_port))
            .transpose()?;
        let (metrics, metrics_at) = bound.unzip();
        let addresses = Addresses {
            http: http_at,
            connections: connections_at,
            metrics: metrics_at,
            tls: config.tls.is_some(),
        };
        Ok(Self { http, connections, metrics, addresses })
    }
}

fn bind(variable: &'static str, host: IpAddr, port: u16) -> Result<(Listener, SocketAddr), Error> {
    let address = SocketAddr::new(host, port);
    let failed = |source| Error::Bind { variable, address, source };
    let listener = Listener::bind(address).map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}
