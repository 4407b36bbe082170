//! Logs: one event per line on standard error, JSON for machines, pretty for a person.
//!
//! Responsible for: `RUST_LOG` and `LOG_FORMAT`, and the process-wide subscriber. Standard output
//! stays free for what a command prints. `LOG_FORMAT=auto` is pretty when standard output is a
//! terminal, for then somebody is looking, and JSON otherwise.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::field::display;
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::kind::Rule;
use crate::config::{Fallback, Kind, Reader, Var};

/// Which events are logged.
pub static RUST_LOG: Var = Var::new(
    "RUST_LOG",
    Kind::Text(Rule {
        takes: "a level (error, warn, info, debug, trace, off) or directives such as \
                info,chat_server::session=debug",
        accepts: |text| EnvFilter::try_new(text).is_ok(),
        bad: "chat_server=loudly",
    }),
    Fallback::Value("info"),
    "Which events are logged.",
);

/// How an event is written.
pub static LOG_FORMAT: Var = Var::new(
    "LOG_FORMAT",
    Kind::Choice(&["auto", "json", "pretty"]),
    Fallback::Value("auto"),
    "How a log event is written on standard error; auto is pretty in a terminal, else JSON.",
);

/// How an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Pretty when standard output is a terminal, else JSON.
    Auto,
    /// One JSON object per line.
    Json,
    /// For people, with colours.
    Pretty,
}

/// The subscriber could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter's directives cannot be read.
    #[error("log filter cannot be read")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Another subscriber is in place already.
    #[error("logs are set up already")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

impl Format {
    /// Reads `LOG_FORMAT`.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        match reader.get::<String>(&LOG_FORMAT).as_str() {
            "json" => Self::Json,
            "pretty" => Self::Pretty,
            _ => Self::Auto,
        }
    }

    fn is_pretty(self) -> bool {
        match self {
            Self::Auto => io::stdout().is_terminal(),
            Self::Json => false,
            Self::Pretty => true,
        }
    }
}

/// Sets up the logs of this process.
///
/// # Errors
/// When the filter cannot be read, or a subscriber is in place already.
pub fn install(filter: &str, format: Format) -> Result<(), Error> {
    let filter = EnvFilter::try_new(filter)?;
    let layer = if format.is_pretty() {
        let ansi = io::stderr().is_terminal();
        fmt::layer().with_writer(io::stderr).with_ansi(ansi).boxed()
    } else {
        let json = fmt::layer().json().flatten_event(true).with_current_span(true);
        json.with_span_list(false).with_writer(io::stderr).boxed()
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// A panic as a log event: on one line and with a level, so that it is found among the others.
fn log_panic(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("no message");
    let location = info.location().map(ToString::to_string);
    let thread = thread::current();
    // Captured only when RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
    tracing::error!(location, thread = thread.name(), backtrace, "panicked: {message}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_are_taken_and_nonsense_is_refused() {
        for good in ["info", "off", "warn,chat_server=debug", "chassis::accept=trace"] {
            assert!(RUST_LOG.kind.parse(good).is_some(), "{good}");
        }
        assert!(RUST_LOG.kind.parse("chat_server=loudly").is_none());
    }
}
