//! How near the process is to its limits: memory it may use, and cores that keep up.
//!
//! One task samples; whoever asks reads an atomic. New connections are refused before memory is
//! spent on them, from nine tenths of the limit on until it is clearly below: those who are in
//! have what is left. Further on, not even a handshake is begun for all who knock at once.
//!
//! Cores that do not keep up are told to operators and shown as *degraded*, never as failing: a
//! balancer that takes every saturated node out puts their clients on the rest, which are
//! saturated next, until there is none. Each state is left later than it is entered, so that
//! nothing flaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::time::Duration;

use metrics::{Gauge, Histogram};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::metric_set;
use crate::ops::{Check, Status};
use crate::runtime::Machine;
use crate::telemetry::{Buckets, Handles, cpu_seconds, resident_bytes};

/// Between two ticks of the runtime that are measured.
const TICK: Duration = Duration::from_millis(100);

/// Memory is looked at every third tick: reading `/proc` takes 10 us, and in 300 ms even a storm of
/// 34k connections a second takes 100 MB.
const TICKS_PER_SAMPLE: u32 = 3;

/// Ticks after which it is judged whether the cores keep up.
const TICKS_PER_WINDOW: u32 = 10;

/// Of the memory limit, in percent: new connections are refused from here,
const TIGHT: u64 = 90;
/// and are let in again below here;
const RELAXED: u64 = 85;
/// from here none is accepted that does not fit the spare slots.
const CRITICAL: u64 = 95;

/// Ticks that come this late on average are evidence enough: everybody waits that long.
const LATE: Duration = Duration::from_millis(50);

/// With all cores busy, less is.
const LATE_WHEN_BUSY: Duration = Duration::from_millis(10);

/// The part of the cores from which they count as busy, and below which they do no more.
const BUSY: f64 = 0.95;
const IDLE: f64 = 0.85;

/// Windows in a row that must be calm before the cores count as keeping up again.
const CALM_WINDOWS: u32 = 2;

/// The bounds of [`Pressure`]'s histogram.
pub const BUCKETS: Buckets = Buckets {
    metric: "runtime_delay_seconds",
    bounds: &[0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5],
};

metric_set! {
    #[derive(Debug)]
    struct Series {
        /// Whether the cores do not keep up with the work, 1 or 0.
        cpu_saturated: Gauge = "cpu_saturated",
        /// How late a task ran that was due every 100 ms, in seconds.
        runtime_delay: Histogram = "runtime_delay_seconds",
        /// Whether new connections are refused because memory is short, 1 or 0.
        memory_short: Gauge = "memory_short",
    }
}

/// How short memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Memory {
    /// There is enough.
    Enough,
    /// There is none for new connections.
    Tight,
    /// Not even for their handshakes.
    Critical,
}

/// What was measured last; shared by whoever must know.
#[derive(Debug)]
pub struct Pressure {
    series: Series,
    memory_limit_bytes: u64,
    memory: AtomicU8,
    saturated: AtomicBool,
}

/// Whether the cores keep up, from one window to the next.
#[derive(Debug, Default)]
struct Cores {
    saturated: bool,
    calm: u32,
}

/// What a window has shown.
#[derive(Debug, Clone, Copy)]
struct Window {
    /// How late its ticks were on average.
    delay: Duration,
    /// The part of all cores that was used; `None` when it could not be read.
    busy: Option<f64>,
}

impl Memory {
    /// Where `used` stands, coming from here.
    fn next(self, used_bytes: u64, limit_bytes: u64) -> Self {
        let percent = used_bytes.saturating_mul(100) / limit_bytes.max(1);
        match percent {
            CRITICAL.. => Self::Critical,
            TIGHT.. => Self::Tight,
            RELAXED.. if self > Self::Enough => Self::Tight,
            _ => Self::Enough,
        }
    }
}

impl Cores {
    fn judge(&mut self, Window { delay, busy }: Window) {
        let busy = busy.unwrap_or_default();
        if delay >= LATE || (delay >= LATE_WHEN_BUSY && busy >= BUSY) {
            (self.saturated, self.calm) = (true, 0);
        } else if delay < LATE_WHEN_BUSY && busy < IDLE {
            self.calm += 1;
            self.saturated &= self.calm < CALM_WINDOWS;
        } else {
            self.calm = 0;
        }
    }
}

impl Pressure {
    /// Nothing is measured before [`Pressure::run`].
    #[must_use]
    pub fn new(telemetry: &Handles, memory_limit_bytes: u64) -> Arc<Self> {
        let series = telemetry.register(Series::register);
        let (memory, saturated) = (AtomicU8::new(Memory::Enough as u8), AtomicBool::new(false));
        Arc::new(Self { series, memory_limit_bytes, memory, saturated })
    }

    /// How short memory was a moment ago.
    #[must_use]
    pub fn memory(&self) -> Memory {
        match self.memory.load(Ordering::Relaxed) {
            0 => Memory::Enough,
            1 => Memory::Tight,
            _ => Memory::Critical,
        }
    }

    /// Whether the cores did not keep up a moment ago.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.saturated.load(Ordering::Relaxed)
    }

    /// Failing while new connections are refused because memory is short.
    #[must_use]
    pub fn memory_check(self: &Arc<Self>) -> Check {
        let this = self.clone();
        Check::new("memory_for_connections", move || match this.memory() {
            Memory::Enough => Status::Ok,
            Memory::Tight | Memory::Critical => {
                let limit = this.memory_limit_bytes;
                Status::Failing(format!("over {RELAXED} % of {limit} bytes are used"))
            }
        })
    }

    /// Degraded while the cores do not keep up.
    #[must_use]
    pub fn cpu_check(self: &Arc<Self>) -> Check {
        let this = self.clone();
        Check::new("cpu", move || match this.is_saturated() {
            true => Status::Degraded("the cores do not keep up with the work".to_owned()),
            false => Status::Ok,
        })
    }

    /// Measures until `stop`; `told` hears of memory whenever it was looked at.
    pub async fn run(self: Arc<Self>, stop: CancellationToken, told: impl Fn(Memory) + Send) {
        let mut due = Instant::now();
        let mut ticks = interval_at(due, TICK);
        // A tick that is late shows once; the next one is due a whole tick after it.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut cores, mut late) = (Cores::default(), Duration::ZERO);
        let mut mark = (due, cpu_seconds().ok());
        for count in 0_u32.. {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            let now = Instant::now();
            let delay = now.saturating_duration_since(due);
            due = now + TICK;
            late += delay;
            self.series.runtime_delay.record(delay);
            if count % TICKS_PER_SAMPLE == 0 {
                told(self.sample());
            }
            if count % TICKS_PER_WINDOW == TICKS_PER_WINDOW - 1 {
                let before = std::mem::replace(&mut mark, (now, cpu_seconds().ok()));
                let delay = std::mem::take(&mut late) / TICKS_PER_WINDOW;
                cores.judge(Window { delay, busy: busy(before, mark) });
                self.settle(&cores);
            }
        }
    }

    fn sample(&self) -> Memory {
        let before = self.memory();
        // Who cannot know lets people in: the limit of the container is behind this one.
        let Ok(used) = resident_bytes() else { return before };
        let memory = before.next(used, self.memory_limit_bytes);
        if memory != before {
            tracing::warn!(?memory, used, limit = self.memory_limit_bytes, "memory");
            self.memory.store(memory as u8, Ordering::Relaxed);
        }
        self.series.memory_short.set(f64::from(u8::from(memory > Memory::Enough)));
        memory
    }

    fn settle(&self, cores: &Cores) {
        if self.saturated.swap(cores.saturated, Ordering::Relaxed) != cores.saturated {
            tracing::warn!(saturated = cores.saturated, "cores");
        }
        self.series.cpu_saturated.set(f64::from(u8::from(cores.saturated)));
    }
}

/// The part of all cores that was used between two marks.
fn busy(before: (Instant, Option<f64>), after: (Instant, Option<f64>)) -> Option<f64> {
    let available = (after.0 - before.0).as_secs_f64() * cores();
    let used = after.1? - before.1?;
    (available > 0.0).then(|| used / available)
}

fn cores() -> f64 {
    u32::try_from(Machine::detect().cores).map_or(1.0, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_short_later_than_it_is_enough_again() {
        let mut memory = Memory::Enough;
        for (percent, wanted) in [
            (89, Memory::Enough),
            (90, Memory::Tight),
            (86, Memory::Tight),
            (95, Memory::Critical),
            (94, Memory::Tight),
            (85, Memory::Tight),
            (84, Memory::Enough),
            (89, Memory::Enough),
            (200, Memory::Critical),
        ] {
            memory = memory.next(percent * 10, 1000);
            assert_eq!(memory, wanted, "{percent} %");
        }
    }

    #[test]
    fn cores_are_saturated_when_work_waits_and_keep_up_again_after_a_while() {
        let window = |millis, busy| Window { delay: Duration::from_millis(millis), busy };
        let mut cores = Cores::default();
        for (window, saturated) in [
            (window(9, Some(1.0)), false),
            (window(40, Some(0.9)), false),
            (window(10, Some(0.95)), true),
            (window(1, Some(0.9)), true),
            (window(1, Some(0.1)), true),
            (window(1, Some(0.1)), false),
            // Held up by others on the machine, or by a control group.
            (window(50, Some(0.2)), true),
            (window(1, None), true),
            (window(20, None), true),
            (window(1, None), true),
            (window(1, None), false),
        ] {
            cores.judge(window);
            assert_eq!(cores.saturated, saturated, "{window:?}");
        }
    }
}
