//! Are the ports free, or held by the server that is to be replaced?

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener};

use serde::Deserialize;

use super::{Finding, Outcome};
use crate::cli::health;
use crate::config::Config;

/// What of `/health` says who answers.
#[derive(Debug, Deserialize)]
struct Answer {
    service: String,
}

/// One line per port.
pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut ports =
        vec![("PORT", config.host, config.port), ("WS_PORT", config.host, config.ws_port)];
    if config.metrics_enabled {
        ports.push(("PROMETHEUS_PORT", config.metrics_host, config.prometheus_port));
    }
    ports.into_iter().map(|(name, host, port)| finding(config, name, host, port)).collect()
}

fn finding(config: &Config, name: &'static str, host: IpAddr, port: u16) -> Finding {
    let address = SocketAddr::new(host, port);
    match TcpListener::bind(address) {
        Ok(_) if port == 0 => Finding::new(Outcome::Ok, "port", format!("{name} is any free one")),
        Ok(_) => Finding::new(Outcome::Ok, "port", format!("{name} {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_ours(config) => {
            let text = format!("{name} {address} is held by the server that runs");
            Finding::new(Outcome::Ok, "port", text)
        }
        Err(error) => Finding::new(
            Outcome::Fail,
            "port",
            format!("{name} {address} cannot be bound: {error}"),
        ),
    }
}

/// Whether this service answers on PORT: then the other ports are its own as well.
fn is_ours(config: &Config) -> bool {
    let answer = health::own_url(config, "/health").and_then(|url| health::get(&url, true));
    let answer = answer.ok().and_then(|(_, body)| serde_json::from_str::<Answer>(&body).ok());
    answer.is_some_and(|answer| answer.service == config.service_name)
}
