//! What the process uses: CPU, memory, open files.
//!
//! Figures come from `/proc/self`. The standard `process_*` series are read when they are scraped;
//! the percentages of the guide are measured every few seconds, for a share of CPU needs two
//! points in time. What cannot be read is left out or stands still, and never ends the server.

use std::fmt::Write;
use std::fs;
use std::io;
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use metrics::Gauge;
use parking_lot::Mutex;
use rustix::param::{clock_ticks_per_second, page_size};
use tokio::time::Instant;

use crate::metric_set;
use crate::runtime::OpenFiles;

/// When the process started, near enough: the first use of this module.
static STARTED: LazyLock<f64> = LazyLock::new(|| {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
});

metric_set! {
    #[derive(Debug)]
    pub(super) struct Gauges {
        /// CPU time used by the process, of all cores it may use, in percent.
        cpu: Gauge = "cpu_usage_percent",
        /// Resident memory of the process, of `MEMORY_LIMIT_MB`, in percent.
        memory: Gauge = "memory_usage_percent",
    }
}

/// What the process uses at one moment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Bytes of physical memory.
    pub resident_bytes: u64,
    /// Seconds of CPU time since the start, user and system.
    pub cpu_seconds: f64,
    /// Open files, sockets included.
    pub open_files: u64,
}

/// Measures the shares and keeps them in gauges.
#[derive(Debug)]
pub(super) struct Meter {
    gauges: Gauges,
    memory_limit_bytes: u64,
    cores: usize,
    /// A lock, for a measurement is due from one task only but nothing hinders a second.
    cpu: Mutex<Option<CpuMark>>,
}

/// CPU time at one moment, to measure the next against.
#[derive(Debug, Clone, Copy)]
struct CpuMark {
    at: Instant,
    cpu_seconds: f64,
}

impl Figures {
    /// Reads them as they stand.
    ///
    /// # Errors
    /// When `/proc/self` is not what Linux documents.
    pub fn read() -> io::Result<Self> {
        Ok(Self {
            resident_bytes: resident_bytes()?,
            cpu_seconds: cpu_seconds()?,
            open_files: open_files()?,
        })
    }
}

/// Seconds of CPU time since the start of the process, user and system.
///
/// # Errors
/// When `/proc/self` is not what Linux documents.
pub fn cpu_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks = cpu_ticks(&stat).ok_or_else(odd)?;
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// The physical memory of the process, in bytes.
///
/// # Errors
/// When `/proc/self` is not what Linux documents.
pub fn resident_bytes() -> io::Result<u64> {
    let statm = fs::read_to_string("/proc/self/statm")?;
    let pages: Option<u64> = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    Ok(pages.ok_or_else(odd)? * page_size() as u64)
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc/self is not as documented")
}

impl Meter {
    pub(super) fn new(memory_limit_bytes: u64, cores: usize) -> Self {
        LazyLock::force(&STARTED);
        Self { gauges: Gauges::register(), memory_limit_bytes, cores, cpu: Mutex::new(None) }
    }

    pub(super) fn measure(&self, now: Instant) {
        let figures = match Figures::read() {
            Ok(figures) => figures,
            Err(error) => {
                tracing::warn!(%error, "process figures could not be read");
                return;
            }
        };
        let limit = self.memory_limit_bytes.max(1) as f64;
        self.gauges.memory.set(figures.resident_bytes as f64 / limit * 100.0);
        let mark = CpuMark { at: now, cpu_seconds: figures.cpu_seconds };
        if let Some(before) = self.cpu.lock().replace(mark)
            && let Some(percent) = mark.percent_since(before, self.cores)
        {
            self.gauges.cpu.set(percent);
        }
    }
}

impl CpuMark {
    /// The share of all cores used between two marks, in percent; `None` when no time has passed.
    fn percent_since(self, before: Self, cores: usize) -> Option<f64> {
        let available = (self.at - before.at).as_secs_f64() * cores.max(1) as f64;
        let used = (self.cpu_seconds - before.cpu_seconds).max(0.0);
        (available > 0.0).then(|| (used / available * 100.0).min(100.0))
    }
}

/// Appends the standard `process_*` series as they stand now.
pub(super) fn render(text: &mut String) {
    let Ok(figures) = Figures::read() else { return };
    let files_max = OpenFiles::current().soft.map_or(f64::INFINITY, |limit| limit as f64);
    let series: [(&str, &str, &str, f64); 5] = [
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory in bytes.",
            figures.resident_bytes as f64,
        ),
        (
            "process_cpu_seconds_total",
            "counter",
            "User and system CPU time in seconds.",
            figures.cpu_seconds,
        ),
        ("process_open_fds", "gauge", "Open files, sockets included.", figures.open_files as f64),
        ("process_max_fds", "gauge", "How many files can be open.", files_max),
        (
            "process_start_time_seconds",
            "gauge",
            "When the process started, in seconds since 1970.",
            *STARTED,
        ),
    ];
    for (name, kind, help, value) in series {
        let value = if value.is_finite() { value.to_string() } else { "+Inf".to_owned() };
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
            .expect("writing to a String cannot fail");
    }
}

/// User and system time of `/proc/<pid>/stat`, fields 14 and 15 of `proc_pid_stat(5)`.
///
/// The second field is the program's name in parentheses and may hold anything, so counting
/// starts behind its last parenthesis.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The size of the directory is the number of its entries since Linux 6.2; before, it is 0 and the
/// entries have to be counted.
fn open_files() -> io::Result<u64> {
    match fs::metadata("/proc/self/fd")?.len() {
        0 => Ok(fs::read_dir("/proc/self/fd")?.count() as u64),
        count => Ok(count),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn figures_are_those_of_a_running_process() {
        let figures = Figures::read().unwrap();
        assert!(figures.resident_bytes > 1 << 20, "{figures:?}");
        assert!(figures.open_files >= 3, "{figures:?}");
    }

    #[test]
    fn a_program_name_cannot_confuse_the_cpu_time() {
        let stat = "1 (a) b ) S 0 1 1 0 -1 4 1 2 3 4 70 30 0 0 20";
        assert_eq!(cpu_ticks(stat), Some(100));
        assert_eq!(cpu_ticks("1 (x) S 0"), None);
    }

    #[test]
    fn cpu_use_is_a_share_of_all_cores() {
        let before = CpuMark { at: Instant::now(), cpu_seconds: 1.0 };
        let after = CpuMark { at: before.at + Duration::from_secs(5), cpu_seconds: 6.0 };
        assert_eq!(after.percent_since(before, 2), Some(50.0));
        assert_eq!(before.percent_since(before, 2), None);
    }

    #[test]
    fn the_standard_series_are_all_there() {
        let mut text = String::new();
        render(&mut text);
        for name in ["resident_memory_bytes", "cpu_seconds_total", "open_fds", "max_fds"] {
            assert!(text.contains(&format!("\nprocess_{name} ")), "{text}");
        }
    }
}
