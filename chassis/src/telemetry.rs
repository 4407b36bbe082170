//! Logs and the Prometheus recorder.

pub mod logs;

use crate::config::{Reader, Section};

/// The variables this module reads.
pub const SECTION: Section =
    Section { title: "Logs", variables: &[&logs::RUST_LOG, &logs::LOG_FORMAT] };

/// What a process says about itself, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The service's name, in logs and `build_info`.
    pub service: String,
    /// The service's version, in logs and `build_info`.
    pub version: String,
    /// What memory use is measured against, in bytes.
    pub memory_limit_bytes: u64,
    /// Which events are logged, in the directive syntax of `RUST_LOG`.
    pub log_filter: String,
    /// How an event is written.
    pub log_format: logs::Format,
}

/// Who a process is; a service reads it from its own variables.
#[derive(Debug, Clone)]
pub struct Identity {
    /// See [`Config::service`].
    pub service: String,
    /// See [`Config::version`].
    pub version: String,
    /// See [`Config::memory_limit_bytes`].
    pub memory_limit_bytes: u64,
}

impl Config {
    /// Reads the variables of this module.
    pub fn read(reader: &mut Reader<'_>, identity: Identity) -> Self {
        let Identity { service, version, memory_limit_bytes } = identity;
        Self {
            service,
            version,
            memory_limit_bytes,
            log_filter: reader.get(&logs::RUST_LOG),
            log_format: logs::Format::read(reader),
        }
    }
}
