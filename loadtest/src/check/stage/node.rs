//! One server of a run: the process, the door that clients take to it, and its way to Redis.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::testing::FaultProxy;

use crate::process::Process;

/// A server.
#[derive(Debug)]
pub struct Node {
    /// Its number, from 0.
    pub number: usize,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where clients connect.
    pub door: FaultProxy,
    /// Its way to Redis, when that can be cut.
    pub wire: Option<FaultProxy>,
    /// What runs.
    pub process: Process,
}

impl Node {
    /// One that is not started yet.
    pub async fn new(number: usize, program: PathBuf, folder: PathBuf) -> Self {
        let process = Process::new(format!("node {number}"), program, folder);
        let address = process.address();
        Self { number, address, door: FaultProxy::start(address).await, wire: None, process }
    }
}
