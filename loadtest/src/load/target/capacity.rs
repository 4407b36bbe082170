//! Whether the machine can hold what is asked, found out before anything starts.
//!
//! A run that meets the end of the files, ports or memory halfway measures that end and nothing
//! else, and takes the machine with it. The arithmetic is rough on purpose and errs on the safe
//! side; what it assumes of a connection is measured and stands in the constants.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Connections of one worker: a process may open 20,000 files here, and has some others too.
pub const WORKER_CONNECTIONS_MAX: u64 = 19_000;

/// Files of a server or worker that are no connections of clients: listeners, the store's and the
/// bus's connections, logs, the runtime's own.
const FILES_APART: u64 = 400;

/// Kernel memory of one idle loopback connection: 3.9 KiB for each end.
const KERNEL_BYTES: u64 = 2 * 4 * 1024;

/// A client's in the server that has it, over plain TCP: 5.4 KiB are measured in rooms of a hundred
/// that lie on six servers.
const SERVER_BYTES: u64 = 6 * 1024;

/// The same over TLS: 9 KiB are measured.
const SERVER_TLS_BYTES: u64 = 12 * 1024;

/// A client's in its worker; TLS keeps a session on that side too.
const WORKER_BYTES: u64 = 1024;
const WORKER_TLS_BYTES: u64 = 12 * 1024;

/// What is on its way to one client while a server is busy with others, in buffers of the kernel.
const TRAFFIC_BYTES: u64 = 8 * 1024;

/// A process without clients: a server with its threads, caches and pools, or a worker with its
/// histograms.
const PROCESS_BYTES: u64 = 64 * MIB;

/// PostgreSQL with its shared memory and a process for each connection, and Redis.
const SERVICES_BYTES: u64 = 1024 * MIB;

const MIB: u64 = 1024 * 1024;

/// What is asked of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Connections in all.
    pub connections: u64,
    /// Servers they are spread over.
    pub nodes: u64,
    /// Whether the servers have a store and a bus beside them on this machine.
    pub services: bool,
    /// Whether they come over TLS.
    pub tls: bool,
}

/// What a machine has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Files that one process may open.
    pub process_files: u64,
    /// Files that all may still open.
    pub files: u64,
    /// Memory that can be had without swapping.
    pub memory_bytes: u64,
    /// Ports of outgoing connections, for each pair of addresses and each port that is connected to.
    pub ports: u64,
}

impl Machine {
    /// Reads what this one has, after asking for as many files as may be had: the processes that
    /// are started from here may open as many as this one.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn read() -> Result<Self> {
        let limit = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        setrlimit(Resource::Nofile, raised).context("raising the limit of open files")?;
        let numbers = |path: &str| -> Result<Vec<u64>> {
            let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
            let numbers = text.split_whitespace().map(str::parse).collect::<Result<_, _>>();
            numbers.with_context(|| format!("{path}: {text}"))
        };
        let files = numbers("/proc/sys/fs/file-nr")?;
        let [allocated, _, most] = files[..] else { anyhow::bail!("file-nr: {files:?}") };
        let ports = numbers("/proc/sys/net/ipv4/ip_local_port_range")?;
        let [first, last] = ports[..] else { anyhow::bail!("ip_local_port_range: {ports:?}") };
        Ok(Self {
            // No limit at all is as good as more than there is.
            process_files: limit.maximum.unwrap_or(u64::MAX),
            files: most.saturating_sub(allocated),
            memory_bytes: available(&fs::read_to_string("/proc/meminfo")?)?,
            ports: (last + 1).saturating_sub(first),
        })
    }

    /// Whether it can hold that.
    ///
    /// # Errors
    /// It says what does not suffice, how much there is, and what would do.
    pub fn check(&self, load: &Load) -> Result<()> {
        let connections = load.connections;
        ensure!(connections > 0 && load.nodes > 0, "a load has connections and servers");
        let each = connections.div_ceil(load.nodes);
        let room = self.process_files.saturating_sub(FILES_APART);
        ensure!(
            each <= room,
            "{connections} connections are {each} for each of {} servers, but a process may open \
             {} files here: take {} servers",
            load.nodes,
            self.process_files,
            connections.div_ceil(room.max(1)),
        );
        let most = load.worker_connections();
        ensure!(
            most <= room,
            "a worker has {most} connections, but a process may open {} files here",
            self.process_files,
        );
        // A worker's connections go out from one address, to the servers in turn.
        let to_one = most.div_ceil(load.nodes);
        ensure!(
            to_one <= self.ports,
            "a worker makes {to_one} connections to one server, but there are only {} outgoing \
             ports (net.ipv4.ip_local_port_range)",
            self.ports,
        );
        let files = 2 * connections + (load.nodes + load.workers()) * FILES_APART;
        ensure!(
            files <= self.files,
            "{connections} connections take {files} files at both ends, but only {} are left \
             (fs.file-max)",
            self.files,
        );
        let needed = load.memory_bytes();
        // A fifth stays: page cache of the store, and room for what the arithmetic has wrong.
        let usable = self.memory_bytes / 5 * 4;
        ensure!(
            needed <= usable,
            "{connections} connections on {} servers take about {} MiB with the kernel's share and \
             the workers', but only {} of {} MiB can be used",
            load.nodes,
            needed / MIB,
            usable / MIB,
            self.memory_bytes / MIB,
        );
        Ok(())
    }
}

impl Load {
    /// Workers that it takes.
    #[must_use]
    pub const fn workers(&self) -> u64 {
        self.connections.div_ceil(WORKER_CONNECTIONS_MAX)
    }

    /// Memory that it takes, of all processes and the kernel together.
    #[must_use]
    pub const fn memory_bytes(&self) -> u64 {
        let (server, worker) = match self.tls {
            true => (SERVER_TLS_BYTES, WORKER_TLS_BYTES),
            false => (SERVER_BYTES, WORKER_BYTES),
        };
        let each = KERNEL_BYTES + TRAFFIC_BYTES + server + worker;
        let processes = (self.nodes + self.workers()) * PROCESS_BYTES;
        let services = if self.services { SERVICES_BYTES } else { 0 };
        self.connections * each + processes + services
    }

    /// The most connections of one worker.
    const fn worker_connections(&self) -> u64 {
        self.connections.div_ceil(self.workers())
    }
}

/// The memory that can be had, of `/proc/meminfo`.
fn available(text: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).context("/proc/meminfo has no MemAvailable")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The machine that the figures of the constants are from.
    const MACHINE: Machine =
        Machine { process_files: 20_000, files: 2_400_000, memory_bytes: 22 << 30, ports: 28_232 };

    const CLUSTER: Load = Load { connections: 100_000, nodes: 6, services: true, tls: false };

    fn refusal(machine: Machine, load: Load) -> String {
        machine.check(&load).unwrap_err().to_string()
    }

    #[test]
    fn a_hundred_thousand_connections_fit_six_servers_and_six_workers() {
        MACHINE.check(&CLUSTER).unwrap();
        assert_eq!((CLUSTER.workers(), CLUSTER.worker_connections()), (6, 16_667));
        // 23 KiB a connection, twelve processes, the services.
        let expected = 100_000 * 23 * 1024 + 12 * 64 * MIB + 1024 * MIB;
        assert_eq!(CLUSTER.memory_bytes(), expected);
        assert!(Load { tls: true, ..CLUSTER }.memory_bytes() > expected);
    }

    #[test]
    fn too_few_servers_are_told_how_many_would_do() {
        let refusal = refusal(MACHINE, Load { nodes: 5, ..CLUSTER });
        assert!(refusal.contains("20000 for each of 5 servers"), "{refusal}");
        assert!(refusal.ends_with("take 6 servers"), "{refusal}");
        MACHINE.check(&Load { connections: 19_600, nodes: 1, ..CLUSTER }).unwrap();
        assert!(MACHINE.check(&Load { connections: 19_601, nodes: 1, ..CLUSTER }).is_err());
    }

    #[test]
    fn a_machine_that_is_too_small_is_told_in_what() {
        let files = Machine { files: 200_000, ..MACHINE };
        assert!(refusal(files, CLUSTER).contains("only 200000 are left (fs.file-max)"));
        let memory = Machine { memory_bytes: 4 << 30, ..MACHINE };
        assert!(refusal(memory, CLUSTER).contains("take about 4038 MiB"));
        let ports = Machine { ports: 16_000, ..MACHINE };
        let alone = Load { connections: 19_000, nodes: 1, ..CLUSTER };
        assert!(refusal(ports, alone).contains("19000 connections to one server"));
        // Spread over servers, the same ports do.
        ports.check(&CLUSTER).unwrap();
        let narrow = Machine { process_files: 1_024, ..MACHINE };
        assert!(refusal(narrow, CLUSTER).contains("may open 1024 files"));
    }

    #[test]
    fn this_machine_tells_what_it_has() {
        let machine = Machine::read().unwrap();
        assert!(machine.ports > 1_000 && machine.files > 1_000, "{machine:?}");
        machine.check(&Load { connections: 10, nodes: 1, services: false, tls: true }).unwrap();
        assert_eq!(available("MemFree: 1 kB\nMemAvailable:   2048 kB\n").unwrap(), 2 << 20);
        assert!(available("MemFree: 1 kB\n").is_err());
    }
}
