//! What the server is told at start: every variable it reads, made into one typed value.
//!
//! One file per concern holds its variables, its struct and what is refused; this file composes
//! them. [`Config::from_source`] only reads; [`Config::load`] also makes the secret a development
//! machine needs. Problems that concern several variables (two ports that are equal, production
//! without TLS) are found here as well, so that a bad configuration never binds a socket.
//!
//! Invariant: [`TABLE`] holds every variable that is read, and every variable in it is read.

pub mod auth;
pub mod limits;
pub mod network;
pub mod planned;
pub mod redis;
pub mod retention;
pub mod store;
pub mod timing;

use std::net::IpAddr;
use std::path::PathBuf;

use chassis::config::kind::{self, Kind, PathIs};
use chassis::config::{
    ConfigError, ConfigErrors, Effective, Fallback, Reader, Section, Source, Var,
};
use chassis::{runtime, telemetry};
use secrecy::SecretString;

pub use auth::{AuthConfig, JwksSource, SecretOrigin};
pub use chassis::config::Environment;
pub use limits::Limits;
pub use network::{Cors, Origins, TlsFiles};
pub use timing::Timing;

use crate::nodes;
use crate::store::Settings;
use crate::upkeep;

/// What the service calls itself.
pub static SERVICE_NAME: Var = Var::new(
    "SERVICE_NAME",
    kind::TEXT,
    Fallback::Value("veza-chat-server"),
    "The service's name in logs and in `build_info`.",
);

/// What the service calls its version.
pub static VERSION: Var = Var::new(
    "VERSION",
    kind::TEXT,
    Fallback::Derived("the version it was built as"),
    "The version in logs, in `build_info` and in the reply to `connect`.",
);

/// Where the server keeps what it makes up itself.
pub static DATA_DIR: Var = Var::new(
    "DATA_DIR",
    Kind::Path(PathIs::Directory),
    Fallback::Value("./data"),
    "Holds what the server makes itself: in development the generated JWT secret.",
);

/// The options of channels and namespaces.
pub static CHANNELS_FILE: Var = Var::new(
    "CHANNELS_FILE",
    Kind::Path(PathIs::File),
    Fallback::Unset,
    "TOML file with the options of channels without a namespace and of each namespace. Without \
     it, development allows everything on plain channels and production nothing.",
);

/// Every variable this server reads, in the order they are documented.
pub static TABLE: &[Section] = &[
    chassis::config::SECTION,
    Section {
        title: "The service",
        variables: &[&SERVICE_NAME, &VERSION, &DATA_DIR, &CHANNELS_FILE],
    },
    network::SECTION,
    auth::SECTION,
    limits::SECTION,
    timing::SECTION,
    store::SECTION,
    redis::SECTION,
    retention::SECTION,
    runtime::SECTION,
    telemetry::SECTION,
    planned::SECTION,
];

/// Everything the server is told at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where it runs, `ENVIRONMENT`.
    pub environment: Environment,
    /// What it calls itself, `SERVICE_NAME`.
    pub service_name: String,
    /// What it calls its version, `VERSION`.
    pub version: String,
    /// The address `PORT` and `WS_PORT` are bound on, `HOST`.
    pub host: IpAddr,
    /// Everything over HTTP, connections included, `PORT`; 0 is any free one.
    pub port: u16,
    /// Connections alone, `WS_PORT`; 0 is any free one.
    pub ws_port: u16,
    /// Metrics and profiles, `PROMETHEUS_PORT`; 0 is any free one.
    pub prometheus_port: u16,
    /// The address `PROMETHEUS_PORT` is bound on, `METRICS_HOST`.
    pub metrics_host: IpAddr,
    /// Whether metrics are served at all, `METRICS_ENABLED`.
    pub metrics_enabled: bool,
    /// Bounds on everything clients can make the server hold or do.
    pub limits: Limits,
    /// Intervals and timeouts.
    pub timing: Timing,
    /// How callers prove who they are.
    pub auth: AuthConfig,
    /// Certificate and key; `None` serves plain text.
    pub tls: Option<TlsFiles>,
    /// TLS ends at a proxy in front of this server, `TLS_TERMINATED_UPSTREAM`.
    pub tls_terminated_upstream: bool,
    /// Options of channels and namespaces, `CHANNELS_FILE`.
    pub channels_file: Option<PathBuf>,
    /// Which web pages may call.
    pub cors: Cors,
    /// Threads.
    pub runtime: runtime::Config,
    /// Logs and metrics.
    pub telemetry: telemetry::Config,
    /// Where rooms live.
    pub store: Settings,
    /// Where several nodes meet; `None` for one alone.
    pub nodes: Option<nodes::Settings>,
    /// Encrypts nothing yet; nodes make sure that they have the same, `ENCRYPTION_KEY`.
    pub encryption_key: Option<SecretString>,
    /// What is removed from it, and when.
    pub upkeep: upkeep::Config,
    /// What the server makes itself, `DATA_DIR`.
    pub data_dir: PathBuf,
    /// What an operator should know although the server starts.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks every variable; touches nothing.
    ///
    /// In development without `JWT_SECRET` the secret is a fresh one nobody else knows, until
    /// [`Config::resolve`] puts the shared one in its place.
    ///
    /// # Errors
    /// Every problem found, not only the first.
    pub fn from_source(source: &Source) -> Result<Self, ConfigErrors> {
        Self::read(source).0
    }

    /// Reads every variable and makes what is missing in development: what `main` calls.
    ///
    /// # Errors
    /// Every problem found, or the secret that could not be made or read.
    pub fn load(source: &Source) -> Result<Self, ConfigErrors> {
        let mut config = Self::from_source(source)?;
        config.resolve()?;
        Ok(config)
    }

    /// In development without `JWT_SECRET`, takes the secret from the data directory, making it at
    /// the first start; everything started with the same `DATA_DIR` agrees on it.
    ///
    /// # Errors
    /// When the file cannot be made or read; the error names `DATA_DIR`.
    pub fn resolve(&mut self) -> Result<(), ConfigError> {
        self.auth.resolve(&self.data_dir)
    }

    /// Reads every variable and also returns the effective values, as they may be shown.
    pub fn read(source: &Source) -> (Result<Self, ConfigErrors>, Vec<Effective>) {
        let mut reader = Reader::new(source, TABLE);
        let config = Self::compose(&mut reader);
        debug_assert_eq!(reader.unread(), [""; 0], "the table names more than is read");
        let effective = reader.effective().to_vec();
        let config = reader.finish().map(|warnings| Self { warnings, ..config });
        (config, effective)
    }

    fn compose(reader: &mut Reader<'_>) -> Self {
        let service_name: String = reader.get(&SERVICE_NAME);
        let version = reader.get_or(&VERSION, env!("CARGO_PKG_VERSION").to_owned());
        let network = network::Network::read(reader);
        let limits = Limits::read(reader, network.tls_terminated_upstream);
        let identity = telemetry::Identity {
            service: service_name.clone(),
            version: version.clone(),
            memory_limit_bytes: limits.memory_limit_bytes,
        };
        let encryption_key = planned::read(reader);
        let data_dir: PathBuf = reader.get(&DATA_DIR);
        Self {
            environment: reader.environment(),
            service_name,
            version,
            host: network.host,
            port: network.port,
            ws_port: network.ws_port,
            prometheus_port: network.prometheus_port,
            metrics_host: network.metrics_host,
            metrics_enabled: network.metrics_enabled,
            limits,
            timing: Timing::read(reader),
            auth: AuthConfig::read(reader),
            tls: network.tls,
            tls_terminated_upstream: network.tls_terminated_upstream,
            channels_file: reader.find(&CHANNELS_FILE),
            cors: network.cors,
            runtime: runtime::Config::read(reader),
            telemetry: telemetry::Config::read(reader, identity),
            store: store::read(reader, &data_dir),
            nodes: redis::read(reader),
            encryption_key,
            upkeep: retention::read(reader),
            data_dir,
            warnings: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
