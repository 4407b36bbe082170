//! What the machine, or the container it runs in, offers this process.
//!
//! Defaults are derived from it. A container's limits count, for they are what ends the process;
//! what cannot be found out is left unknown rather than guessed.

use std::fs;
use std::num::NonZero;
use std::thread::available_parallelism;

/// Cores and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// Cores this process may use, a container's CPU quota included; at least one.
    pub cores: usize,
    /// Bytes of memory this process may use: the container's limit, else the machine's memory.
    pub memory_bytes: Option<u64>,
}

impl Machine {
    /// Looks at the system.
    #[must_use]
    pub fn detect() -> Self {
        let memory = [cgroup_memory(), machine_memory()];
        Self {
            // Reads the CPU affinity and the control group's quota.
            cores: available_parallelism().map_or(1, NonZero::get),
            memory_bytes: memory.into_iter().flatten().min(),
        }
    }
}

/// The limit of this process's own control group, in either version of the interface.
fn cgroup_memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    memory_files(&groups)
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .filter_map(|text| text.trim().parse().ok())
        .min()
}

/// Where the limit may stand: under the process's own group, and at the root, which is what a
/// container sees as its own.
fn memory_files(groups: &str) -> Vec<String> {
    let mut files = vec![
        "/sys/fs/cgroup/memory.max".to_owned(),
        "/sys/fs/cgroup/memory/memory.limit_in_bytes".to_owned(),
    ];
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else {
            continue;
        };
        if controllers.is_empty() {
            files.push(format!("/sys/fs/cgroup{path}/memory.max"));
        } else if controllers.split(',').any(|name| name == "memory") {
            files.push(format!("/sys/fs/cgroup/memory{path}/memory.limit_in_bytes"));
        }
    }
    files
}

fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_has_a_core_and_some_memory() {
        let machine = Machine::detect();
        assert!(machine.cores >= 1);
        assert!(machine.memory_bytes.is_some_and(|bytes| bytes > 1 << 20));
    }

    #[test]
    fn both_versions_of_control_groups_are_looked_at() {
        let files = memory_files("4:cpu,memory:/a\n0::/b\nnonsense\n");
        assert!(files.contains(&"/sys/fs/cgroup/memory/a/memory.limit_in_bytes".to_owned()));
        assert!(files.contains(&"/sys/fs/cgroup/b/memory.max".to_owned()));
        assert_eq!(files.len(), 4);
    }
}
