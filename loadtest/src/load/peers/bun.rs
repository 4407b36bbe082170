//! Bun: one process, whose loop and publish are native code.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use chassis::testing::free_port;

use super::found::version;
use super::running::{Start, rooms};

/// The server.
const SCRIPT: &str = include_str!("../../../peers/bun.js");

/// The program in the package that npm took for this platform.
pub(super) fn find(home: &Path) -> Option<(String, String)> {
    let packages = fs::read_dir(home.join("node_modules/@oven").canonicalize().ok()?).ok()?;
    packages.flatten().find_map(|package| {
        let program = package.path().join("bin/bun").to_str()?.to_owned();
        let version = version(&program, "--version")?;
        Some((program, version))
    })
}

pub(super) fn start(program: &str, folder: &Path) -> Result<Start> {
    let (port, script) = (free_port(), folder.join("bun.js"));
    fs::write(&script, SCRIPT)?;
    let mut command = Command::new(program);
    command.arg(script).arg(port.to_string());
    Ok(Start { command, port, speech: rooms() })
}
