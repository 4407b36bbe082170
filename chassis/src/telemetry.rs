//! Logs and the Prometheus recorder.
//!
//! [`Handles`] belong to one server: they hold its recorder, so that several servers in one test
//! process count apart. [`Handles::install`] is what `main` calls; it also sets up the logs and
//! makes the recorder the process-wide one, for counters without a struct of their own.
//!
//! What concerns the process (CPU, memory, open files) is measured here; what a service counts is
//! declared by the service with [`metric_set!`](crate::metric_set). Serving the text is not done
//! here but in `ops`.
//!
//! Task and lifetime: [`Handles::run`] is spawned once per server and runs until its token is
//! cancelled.

pub mod logs;
pub mod metric;
mod process;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusRecorder};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::{Reader, Section};
use crate::runtime::Machine;

pub use process::{Figures, cpu_seconds, resident_bytes};

/// Between two collections of histogram samples: they are kept one by one until then, 16 bytes
/// each, so a second at a million samples is 16 MB.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Between two measurements of the process, in upkeeps.
const UPKEEPS_PER_MEASUREMENT: u32 = 5;

/// For a histogram no bounds were given for, in seconds: from a millisecond to ten seconds, three
/// per decade, as Prometheus clients have it.
const BOUNDS_DEFAULT: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The variables this module reads.
pub const SECTION: Section =
    Section { title: "Logs", variables: &[&logs::RUST_LOG, &logs::LOG_FORMAT] };

/// What a process says about itself, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The service's name, in `build_info`.
    pub service: String,
    /// The service's version, in `build_info`.
    pub version: String,
    /// What memory use is measured against, in bytes.
    pub memory_limit_bytes: u64,
    /// Which events are logged, in the directive syntax of `RUST_LOG`.
    pub log_filter: String,
    /// How an event is written.
    pub log_format: logs::Format,
}

/// Who a process is; a service reads it from its own variables.
#[derive(Debug, Clone)]
pub struct Identity {
    /// See [`Config::service`].
    pub service: String,
    /// See [`Config::version`].
    pub version: String,
    /// See [`Config::memory_limit_bytes`].
    pub memory_limit_bytes: u64,
}

/// The upper bounds of a histogram's buckets.
#[derive(Debug, Clone, Copy)]
pub struct Buckets {
    /// The histogram.
    pub metric: &'static str,
    /// The bounds, rising; the last bucket, to infinity, is added.
    pub bounds: &'static [f64],
}

/// The metrics of one server, and the measurements of its process.
#[derive(Clone)]
pub struct Handles {
    recorder: Arc<PrometheusRecorder>,
    process: Arc<process::Meter>,
}

/// Telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The logs could not.
    #[error("logs could not be set up")]
    Logs(#[from] logs::Error),
    /// A histogram's bounds are empty.
    #[error("metrics could not be set up")]
    Metrics(#[from] BuildError),
    /// The process has a recorder already.
    #[error("metrics are set up already")]
    Installed,
}

impl Config {
    /// Reads the variables of this module.
    pub fn read(reader: &mut Reader<'_>, identity: Identity) -> Self {
        let Identity { service, version, memory_limit_bytes } = identity;
        Self {
            service,
            version,
            memory_limit_bytes,
            log_filter: reader.get(&logs::RUST_LOG),
            log_format: logs::Format::read(reader),
        }
    }
}

impl Handles {
    /// Sets up logs and metrics for this process; once.
    ///
    /// # Errors
    /// When something is in place already, or a histogram has no bounds.
    pub fn install(config: &Config, buckets: &[Buckets]) -> Result<Self, Error> {
        logs::install(&config.log_filter, config.log_format)?;
        let handles = Self::detached(config, buckets)?;
        metrics::set_global_recorder(Arc::clone(&handles.recorder))
            .map_err(|_taken| Error::Installed)?;
        Ok(handles)
    }

    /// Metrics that belong to nobody else and no logs: for a server inside a test.
    ///
    /// # Errors
    /// When a histogram has no bounds.
    pub fn detached(config: &Config, buckets: &[Buckets]) -> Result<Self, Error> {
        let mut builder = PrometheusBuilder::new().set_buckets(BOUNDS_DEFAULT)?;
        for Buckets { metric, bounds } in buckets {
            let matcher = Matcher::Full((*metric).to_owned());
            builder = builder.set_buckets_for_metric(matcher, bounds)?;
        }
        let recorder = Arc::new(builder.build_recorder());
        let process = metrics::with_local_recorder(&recorder, || {
            build_info(config);
            process::Meter::new(config.memory_limit_bytes, Machine::detect().cores)
        });
        let handles = Self { recorder, process: Arc::new(process) };
        handles.process.measure(Instant::now());
        Ok(handles)
    }

    /// Runs `declare` so that the metrics it registers belong to this server.
    pub fn register<T>(&self, declare: impl FnOnce() -> T) -> T {
        metrics::with_local_recorder(&self.recorder, declare)
    }

    /// Everything counted so far, in the text format of Prometheus.
    ///
    /// Collects histogram samples: milliseconds when there are many.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.recorder.handle().render();
        process::render(&mut text);
        text
    }

    /// Collects samples and measures the process until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut ticks = interval(UPKEEP_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut until_measurement = UPKEEPS_PER_MEASUREMENT;
        loop {
            tokio::select! {
                // The end first: a measurement nobody will read is not worth waiting for.
                biased;
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
            }
            until_measurement -= 1;
            let measure = until_measurement == 0;
            if measure {
                until_measurement = UPKEEPS_PER_MEASUREMENT;
            }
            let handles = self.clone();
            let upkeep = spawn_blocking(move || {
                handles.recorder.handle().run_upkeep();
                if measure {
                    handles.process.measure(Instant::now());
                }
            });
            if let Err(error) = upkeep.await {
                tracing::error!(%error, "metrics upkeep failed");
            }
        }
    }
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles").finish_non_exhaustive()
    }
}

/// One series that is always 1; its labels say what runs.
fn build_info(config: &Config) {
    metrics::describe_gauge!("build_info", "What runs: service and version.");
    metrics::gauge!(
        "build_info",
        "service" => config.service.clone(),
        "version" => config.version.clone(),
    )
    .set(1.0);
}
