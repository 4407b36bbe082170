//! What machine it is: a figure means nothing without it.

use std::fmt;
use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

use super::proc::{after, kib};

/// The machine a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What the maker calls the processor.
    pub cpu_model: String,
    /// Cores that this program may use.
    pub cores: usize,
    /// Memory of the whole.
    pub memory_bytes: u64,
    /// Linux, and which one.
    pub kernel: String,
}

impl Machine {
    /// This one. What the kernel does not show is empty or zero.
    #[must_use]
    pub fn read() -> Self {
        let text = |path| fs::read_to_string(path).unwrap_or_default();
        Self {
            cpu_model: model(&text("/proc/cpuinfo")),
            cores: thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: kib(&text("/proc/meminfo"), "MemTotal:").unwrap_or_default(),
            kernel: format!("Linux {}", text("/proc/sys/kernel/osrelease").trim()),
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu_model, cores, memory_bytes, kernel } = self;
        let gib = *memory_bytes as f64 / f64::from(1 << 30);
        write!(f, "{cores} cores of {cpu_model}, {gib:.2} GiB, {kernel}")
    }
}

/// Of the first core; the kernel has no name for the cores of some families and gives numbers.
fn model(cpuinfo: &str) -> String {
    let value = |field| after(cpuinfo, field)?.split_once(':').map(|(_, value)| value.trim());
    let part = || Some(format!("{} part {}", value("CPU implementer")?, value("CPU part")?));
    value("model name").map(str::to_owned).or_else(part).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_that_of_the_first_core() {
        let text = "processor\t: 0\nmodel\t\t: 207\nmodel name\t: Some CPU @ 2.1GHz\n\n\
                    processor\t: 1\nmodel name\t: Another\n";
        assert_eq!(model(text), "Some CPU @ 2.1GHz");
    }

    #[test]
    fn a_core_without_a_name_has_its_numbers() {
        let text = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n";
        assert_eq!(model(text), "0x41 part 0xd40");
        assert_eq!(model(""), "");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        let machine = Machine::read();
        assert!(machine.cores >= 1);
        assert!(machine.memory_bytes > 1 << 20);
        assert!(machine.kernel.starts_with("Linux "));
    }
}
