//! nats-server: one process of Go, with as many threads as there are processors.

use std::fs;
use std::path::Path;

use anyhow::Result;
use chassis::testing::free_port;

use super::found::version;
use super::running::{Start, mortal};
use crate::load::dialect::{Speech, nats};

/// Its configuration; `{port}` is filled in.
const CONFIGURATION: &str = include_str!("../../../peers/nats.conf");

/// The program, which Debian puts where everybody looks.
pub(super) fn find() -> Option<(String, String)> {
    let program = "nats-server".to_owned();
    let version = version(&program, "--version")?;
    Some((program, version))
}

pub(super) fn start(program: &str, folder: &Path) -> Result<Start> {
    let (port, configuration) = (free_port(), folder.join("nats.conf"));
    fs::write(&configuration, CONFIGURATION.replace("{port}", &port.to_string()))?;
    let mut command = mortal(program);
    command.arg("--config").arg(configuration);
    let speech = Speech::Nats(nats::Settings { path: "/".to_owned() });
    Ok(Start { command, port, speech })
}
