//! The command line: without a command it serves, the others help those who run it.
//!
//! Responsible for: reading the arguments, finding the configuration, printing what a command
//! found and the exit code. Results go to standard output and nothing else does, so that
//! `TOKEN=$(chat-server token --user ann)` works; complaints go to standard error.
//!
//! Exit codes: 0 done, 1 failed, 64 the arguments or the configuration are refused.

pub mod banner;
pub mod check;
mod database;
mod erase;
mod export;
mod health;
mod restored;
pub mod settings;
mod token;

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use chassis::config::{self, ConfigErrors, Source};
use clap::{Parser, Subcommand};

use crate::config::Config;

/// What `--help` says below the commands.
const EXAMPLES: &str = "\
Examples:
  chat-server                                serve on http://127.0.0.1:8080, nothing to configure
  chat-server token --user ann               a token with which ann can connect for an hour
  PORT=9000 chat-server                      serve on another port
  CONFIG_FILE=chat.toml chat-server check    is everything there that this deployment needs?

Settings are environment variables, or lines of a TOML file named by CONFIG_FILE;
docs/CONFIGURATION.md and `chat-server config --markdown` explain each of them.";

/// Realtime messages over WebSocket, server-sent events and HTTP streams.
///
/// Without a command it serves until it is told to stop (ctrl-c or SIGTERM). It needs no
/// configuration to be tried out on one machine.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print a token with which a user can connect
    Token(token::Args),
    /// Verify that this machine and these settings can serve
    Check,
    /// Print the settings in effect, secrets left out
    Config(settings::Args),
    /// Ask the running server whether it is ready; for container health checks
    Health(health::Args),
    /// Print a room, its members and its events as lines of JSON
    Export(export::Args),
    /// Take a person's content and identity out of every room
    Erase(erase::Args),
    /// Tell all clients that the database was restored from a backup
    ///
    /// Do it after every restore, before servers start or while they run: positions that clients
    /// kept from before count no more, and they load the state anew.
    Restored,
}

/// Does what the arguments of this process say; `serve` is what happens without a command.
pub fn run<E: Display>(serve: impl FnOnce(Config) -> Result<(), E>) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            // Help and the version come as errors too, and are meant for standard output.
            let code = if refused.use_stderr() { config::EXIT_CODE } else { 0 };
            return refused.print().map_or(ExitCode::FAILURE, |()| ExitCode::from(code));
        }
    };
    let source = Source::environment();
    let ended = match cli.command {
        None => return load(&source, |config| serve(config).map_err(|error| error.to_string())),
        Some(Command::Token(args)) => {
            return load(&source, |config| print(&token::make(&config, args)));
        }
        Some(Command::Health(args)) => {
            return load(&source, |config| {
                health::ask(&config, args).and_then(|text| print(&text))
            });
        }
        Some(Command::Export(args)) => return load(&source, |config| export::run(&config, &args)),
        Some(Command::Erase(args)) => {
            return load(&source, |config| {
                erase::run(&config, &args).and_then(|text| print(&text))
            });
        }
        Some(Command::Restored) => {
            return load(&source, |config| restored::run(&config).and_then(|text| print(&text)));
        }
        Some(Command::Check) => check::run(&source),
        Some(Command::Config(args)) => settings::run(&source, &args),
    };
    match print(&ended.text) {
        Ok(()) => ExitCode::from(ended.code),
        Err(error) => complain(&error, 1),
    }
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Ended {
    /// For standard output, lines ended.
    pub text: String,
    /// The exit code.
    pub code: u8,
}

fn load(source: &Source, act: impl FnOnce(Config) -> Result<(), String>) -> ExitCode {
    match Config::load(source) {
        Ok(config) => match act(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => complain(&error, 1),
        },
        Err(errors) => complain(&refusal(&errors), config::EXIT_CODE),
    }
}

/// All that is wrong with the settings, for people.
fn refusal(errors: &ConfigErrors) -> String {
    format!(
        "the configuration is refused:\n{errors}\n\
         `chat-server config --markdown` explains every variable."
    )
}

fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| format!("cannot print: {error}"))
}

fn complain(message: &str, code: u8) -> ExitCode {
    // When not even standard error takes it, the exit code still tells.
    drop(writeln!(io::stderr().lock(), "chat-server: {message}"));
    ExitCode::from(code)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed_and_the_help_names_every_command() {
        Cli::command().debug_assert();
        let help = Cli::command().render_long_help().to_string();
        for word in [
            "token",
            "check",
            "config",
            "health",
            "export",
            "erase",
            "restored",
            "Examples:",
            "CONFIG_FILE",
        ] {
            assert!(help.contains(word), "{word} in\n{help}");
        }
    }

    #[test]
    fn serving_needs_no_argument_and_unknown_ones_are_refused() {
        assert!(Cli::try_parse_from(["chat-server"]).unwrap().command.is_none());
        assert!(Cli::try_parse_from(["chat-server", "sevre"]).is_err());
        assert!(Cli::try_parse_from(["chat-server", "token"]).is_err(), "a user is required");
    }
}
