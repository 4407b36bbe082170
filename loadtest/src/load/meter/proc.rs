//! The texts of `/proc`, read by their documentation (proc(5)): pure, an error is the field that is
//! not there.

use std::time::Duration;

/// Of the times in `/proc/stat` and `/proc/PID/stat`: the same on every Linux that Rust runs on.
const TICKS_PER_SECOND: u64 = 100;

/// What of `/proc/PID/status` is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) resident_bytes: u64,
    pub(super) anonymous_bytes: u64,
    pub(super) threads: u64,
}

/// The first line of `/proc/stat`: all cores together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) busy: Duration,
    pub(super) stolen: Duration,
    pub(super) idle: Duration,
}

impl Status {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let threads = after(text, "Threads:").and_then(|rest| rest.trim().parse().ok());
        Ok(Self {
            resident_bytes: kib(text, "VmRSS:")?,
            anonymous_bytes: kib(text, "RssAnon:")?,
            threads: threads.ok_or("Threads:")?,
        })
    }
}

impl Times {
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let line = after(text, "cpu ").ok_or("cpu")?;
        let ticks: Vec<u64> = line.split_whitespace().map_while(|it| it.parse().ok()).collect();
        // What guests used is in `user` and `nice` already.
        let [user, nice, system, idle, iowait, irq, softirq, stolen, ..] = ticks[..] else {
            return Err("cpu with eight times");
        };
        Ok(Self {
            busy: time(user + nice + system + irq + softirq),
            stolen: time(stolen),
            idle: time(idle + iowait),
        })
    }
}

/// A size in KiB, as bytes.
pub(super) fn kib(text: &str, field: &'static str) -> Result<u64, &'static str> {
    let rest = after(text, field).ok_or(field)?;
    let kib: u64 = rest.split_whitespace().next().and_then(|it| it.parse().ok()).ok_or(field)?;
    Ok(kib * 1024)
}

/// The pages that `/proc/net/sockstat` says TCP holds.
pub(super) fn tcp_pages(text: &str) -> Result<u64, &'static str> {
    let mut words = after(text, "TCP:").ok_or("TCP:")?.split_whitespace();
    words.find(|word| *word == "mem").ok_or("mem of TCP")?;
    words.next().and_then(|it| it.parse().ok()).ok_or("mem of TCP")
}

/// Process ids, separated by blanks.
pub(super) fn pids(text: &str) -> Vec<u32> {
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// `cutime` and `cstime` of `/proc/PID/stat`: what children used that ended and were waited for.
pub(super) fn ended_children(text: &str) -> Option<Duration> {
    // The name of the program stands in parentheses and may hold blanks and parentheses.
    let (_name, rest) = text.rsplit_once(')')?;
    // `state` is the first behind it and the third of all; the two are the 16th and 17th.
    let mut times = rest.split_whitespace().skip(13).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some(time(user + system))
}

/// What stands behind the first line's beginning that is `field`.
pub(super) fn after<'a>(text: &'a str, field: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(field))
}

fn time(ticks: u64) -> Duration {
    Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_process_is_read() {
        let text = "Name:\tchat-server\nVmHWM:\t  999 kB\nVmRSS:\t   21000 kB\nRssAnon:\t 9000 kB\n\
                    RssFile:\t   12000 kB\nThreads:\t7\n";
        let read = Status { resident_bytes: 21_504_000, anonymous_bytes: 9_216_000, threads: 7 };
        assert_eq!(Status::parse(text), Ok(read));
    }

    #[test]
    fn a_status_without_memory_names_what_is_missing() {
        // As the kernel shows a process that has ended and was not waited for.
        assert_eq!(Status::parse("Name:\tx\nThreads:\t1\n"), Err("VmRSS:"));
        assert_eq!(Status::parse("VmRSS:\t1 kB\nRssAnon:\t1 kB\n"), Err("Threads:"));
    }

    #[test]
    fn waiting_for_a_disk_is_idle_and_stolen_time_is_neither() {
        let text = "cpu  100 20 30 4000 500 6 70 8 90 0\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n";
        let times = Times {
            busy: Duration::from_millis(2260),
            stolen: Duration::from_millis(80),
            idle: Duration::from_secs(45),
        };
        assert_eq!(Times::parse(text), Ok(times));
    }

    #[test]
    fn a_short_line_of_times_is_refused() {
        assert_eq!(Times::parse("cpu  1 2 3\n"), Err("cpu with eight times"));
        assert_eq!(Times::parse("intr 5\n"), Err("cpu"));
    }

    #[test]
    fn the_memory_of_tcp_is_that_of_tcp_and_not_of_udp() {
        let text = "sockets: used 3766\nTCP: inuse 3742 orphan 0 tw 1202 alloc 3742 mem 181\n\
                    UDP: inuse 0 mem 7\n";
        assert_eq!(tcp_pages(text), Ok(181));
        assert_eq!(tcp_pages("UDP: inuse 0 mem 7\n"), Err("TCP:"));
    }

    #[test]
    fn the_time_of_ended_children_is_found_behind_any_name() {
        let text = "42 (a b) c) S 1 42 42 0 -1 4194304 3081 99 0 0 120 34 250 50 20 0 7 0 1234 0 0";
        assert_eq!(ended_children(text), Some(Duration::from_secs(3)));
        assert_eq!(ended_children("42 (a b) c) S 1 42"), None);
    }
}
