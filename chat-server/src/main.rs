//! Starts the server: configuration, telemetry, runtime; everything else is in the library.

use std::process::ExitCode;
use std::time::Duration;

use chassis::runtime::OpenFiles;
use chassis::telemetry::Handles;
use chat_server::{cli, config::Config, metrics, server};

/// For blocking calls that are under way when the server has ended.
const RUNTIME_GRACE: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    cli::run(|config| serve(config).map_err(|error| format!("{error:#}")))
}

fn serve(config: Config) -> anyhow::Result<()> {
    chassis::tls::install_provider();
    let telemetry = Handles::install(&config.telemetry, metrics::BUCKETS)?;
    config.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
    OpenFiles::raise()?;
    let runtime = config.runtime.build()?;
    let ended = runtime.block_on(server::run(config, telemetry));
    runtime.shutdown_timeout(RUNTIME_GRACE);
    Ok(ended?)
}
