//! Node with the package `ws`: one process, as Node is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use chassis::testing::free_port;

use super::found::version;
use super::running::{Start, rooms};

/// The server.
const SCRIPT: &str = include_str!("../../../peers/ws.js");

/// Where npm put the packages, when Node and `ws` are there.
pub(super) fn find(home: &Path) -> Option<(String, String)> {
    let packages = home.join("node_modules").canonicalize().ok()?;
    let package = fs::read(packages.join("ws/package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_slice(&package).ok()?;
    let node = version("node", "--version")?;
    let version = format!("{} (Node {node})", package["version"].as_str()?);
    Some((packages.to_str()?.to_owned(), version))
}

pub(super) fn start(packages: &str, folder: &Path) -> Result<Start> {
    let (port, script) = (free_port(), folder.join("ws.js"));
    fs::write(&script, SCRIPT)?;
    // Node looks for packages beside the script.
    symlink(packages, folder.join("node_modules"))?;
    let mut command = Command::new("node");
    command.arg(script).arg(port.to_string());
    Ok(Start { command, port, speech: rooms() })
}
