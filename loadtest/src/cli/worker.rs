//! `loadtest worker`: what the coordinator of a measurement starts, and nobody else.

use std::io::{stdin, stdout};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};

use crate::load::worker;

/// Does what it is told on standard input.
pub(super) fn run() -> Result<bool> {
    let orders = stdin().as_fd().try_clone_to_owned().context("standard input")?;
    worker::run(orders, stdout().lock())?;
    Ok(true)
}
