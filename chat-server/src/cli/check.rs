//! `check`: can this machine serve with these settings?
//!
//! One line per finding: `ok`, `warn` for what one should know, `FAIL` for what will not work. The
//! exit code is 0 without a failure, 64 when the settings are refused, else 1, so that a deployment
//! script or a container's init step can stop there. It changes nothing, except that development
//! gets its secret if it has none yet.

mod ports;
mod redis;
mod store;

use std::fmt::{self, Display};
use std::time::{Duration, SystemTime};

use chassis::auth::Verifier;
use chassis::config::{EXIT_CODE, Source};
use chassis::runtime::OpenFiles;
use chassis::tls::Acceptor;

use super::Ended;
use crate::channel::Namespaces;
use crate::config::{Config, SecretOrigin};

/// A certificate that ends sooner than this should have been renewed by whatever renews it.
const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * DAY);

const DAY: u64 = 24 * 60 * 60;

/// Files that are open besides connections: listeners, logs, the runtime's own, and plain HTTP.
const FILES_RESERVED: u64 = 256;

/// Before this nobody can run this program: 2025-01-01 in Unix seconds. A machine without a clock
/// battery comes up decades earlier and would refuse every token.
const CLOCK_MIN: u64 = 1_735_689_600;

/// After this the clock is as wrong: 2100-01-01.
const CLOCK_MAX: u64 = 4_102_444_800;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Warn,
    Fail,
}

/// One line.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    outcome: Outcome,
    subject: &'static str,
    text: String,
}

impl Finding {
    fn new(outcome: Outcome, subject: &'static str, text: impl Into<String>) -> Self {
        Self { outcome, subject, text: text.into() }
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.outcome {
            Outcome::Ok => "ok",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        write!(f, "{word:<4}  {:<12}  {}", self.subject, self.text)
    }
}

/// Checks everything and says what was found.
pub(super) fn run(source: &Source) -> Ended {
    let config = match Config::load(source) {
        Ok(config) => config,
        Err(errors) => {
            let line = |error| Finding::new(Outcome::Fail, "variables", format!("{error}"));
            let findings: Vec<_> = errors.iter().map(line).collect();
            return Ended { text: lines(&findings), code: EXIT_CODE };
        }
    };
    let mut findings = vec![Finding::new(
        Outcome::Ok,
        "variables",
        format!("all are valid, for {}", config.environment),
    )];
    let warning = |text: &String| Finding::new(Outcome::Warn, "variables", text.clone());
    findings.extend(config.warnings.iter().map(warning));
    findings.push(secret(&config));
    findings.push(keys(&config));
    findings.push(channels(&config));
    findings.push(certificate(&config, SystemTime::now()));
    findings.push(open_files(&config, OpenFiles::current()));
    findings.extend(store::findings(&config));
    findings.extend(redis::findings(&config));
    findings.extend(ports::findings(&config));
    findings.push(clock(SystemTime::now()));
    let failed = findings.iter().any(|finding| finding.outcome == Outcome::Fail);
    Ended { text: lines(&findings), code: u8::from(failed) }
}

fn lines(findings: &[Finding]) -> String {
    findings.iter().map(|finding| format!("{finding}\n")).collect()
}

fn secret(config: &Config) -> Finding {
    let text = match config.auth.secret_origin {
        SecretOrigin::Given => "JWT_SECRET is set".to_owned(),
        SecretOrigin::Shared | SecretOrigin::MadeUp => {
            format!("JWT_SECRET is not set, {} has one", config.data_dir.display())
        }
    };
    Finding::new(Outcome::Ok, "secret", text)
}

fn keys(config: &Config) -> Finding {
    match Verifier::new((&config.auth).into()) {
        Ok(_) if config.auth.jwks.is_some() => {
            Finding::new(Outcome::Ok, "keys", "the secret and the key set can be used")
        }
        Ok(_) => Finding::new(Outcome::Ok, "keys", "the secret can be used, no key set"),
        Err(error) => Finding::new(Outcome::Fail, "keys", with_sources(&error)),
    }
}

fn channels(config: &Config) -> Finding {
    let place = match &config.channels_file {
        Some(path) => format!("CHANNELS_FILE {}", path.display()),
        None => format!("no CHANNELS_FILE, the defaults for {}", config.environment),
    };
    match Namespaces::load(config.channels_file.as_deref(), config.environment) {
        Ok(_) if config.channels_file.is_none() && config.environment.is_production() => {
            let text = "no CHANNELS_FILE: no plain channel can be used";
            Finding::new(Outcome::Warn, "channels", text)
        }
        Ok(_) => Finding::new(Outcome::Ok, "channels", place),
        Err(error) => Finding::new(Outcome::Fail, "channels", with_sources(&error)),
    }
}

fn certificate(config: &Config, now: SystemTime) -> Finding {
    let Some(files) = &config.tls else {
        let text = if config.tls_terminated_upstream {
            "TLS ends at the proxy in front"
        } else {
            "no TLS, on this machine only"
        };
        return Finding::new(Outcome::Ok, "certificate", text);
    };
    match Acceptor::load(files.into()) {
        Ok(acceptor) => match acceptor.not_after().duration_since(now) {
            Ok(left) => {
                let outcome = if left < CERTIFICATE_WARNING { Outcome::Warn } else { Outcome::Ok };
                let text = format!("expires in {} days", left.as_secs() / DAY);
                Finding::new(outcome, "certificate", text)
            }
            Err(past) => {
                let text = format!("expired {} days ago", past.duration().as_secs() / DAY);
                Finding::new(Outcome::Fail, "certificate", text)
            }
        },
        Err(error) => Finding::new(Outcome::Fail, "certificate", with_sources(&error)),
    }
}

fn open_files(config: &Config, limit: OpenFiles) -> Finding {
    let needed = config.limits.connections_max as u64 + FILES_RESERVED;
    // The server raises its soft limit itself.
    let Some(hard) = limit.hard.filter(|&hard| hard < needed) else {
        let text = format!("enough for MAX_CONNECTIONS {}", config.limits.connections_max);
        return Finding::new(Outcome::Ok, "open files", text);
    };
    let outcome = if config.environment.is_production() { Outcome::Fail } else { Outcome::Warn };
    let text = format!(
        "the limit is {hard}, MAX_CONNECTIONS {} needs {needed}",
        config.limits.connections_max
    );
    Finding::new(outcome, "open files", text)
}

fn clock(now: SystemTime) -> Finding {
    let seconds = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    if (CLOCK_MIN..CLOCK_MAX).contains(&seconds) {
        Finding::new(Outcome::Ok, "clock", "plausible")
    } else {
        let text = format!("{seconds} seconds since 1970 cannot be: every token would be refused");
        Finding::new(Outcome::Fail, "clock", text)
    }
}

/// An error with what caused it, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(cause.to_string().trim_end());
        source = cause.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests;
