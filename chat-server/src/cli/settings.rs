//! `config`: the settings in effect, or the documentation of all of them.
//!
//! The documentation is made from the tables alone and is the same everywhere: it is committed as
//! docs/CONFIGURATION.md, and a test holds the two equal.

use std::fmt::Write;

use chassis::config::{EXIT_CODE, Origin, Source, markdown};

use super::Ended;
use crate::config::{Config, TABLE};

/// What stands above the tables.
const INTRO: &str = "\
# Configuration

Every variable `chat-server` reads. This page is the output of `chat-server config --markdown`; a
test holds the two equal. `chat-server config` prints the values in effect, `chat-server check`
verifies a deployment.

- A variable is read from the process environment, else from the TOML file named by `CONFIG_FILE`
  (`NAME = value`, same names), else it has its default. An empty value counts as unset.
- A secret may instead be the content of a file named by `NAME_FILE`, without its last line end;
  giving both is an error.
- A bad value, a misspelt name in the file, or a combination that is refused ends the process with
  exit code 64 before anything is bound. Every problem is named on standard error, with what the
  variable got (never for secrets) and what it takes.
- With `ENVIRONMENT=production` it also refuses to start with a missing, short or placeholder
  secret, with anonymous access, or without TLS unless `TLS_TERMINATED_UPSTREAM=true`.
- Setting a variable marked **not yet** gives a warning at start.";

/// Arguments of `config`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the documentation of every variable instead
    #[arg(long)]
    markdown: bool,
}

/// The documentation of every variable.
#[must_use]
pub fn documentation() -> String {
    markdown::render("chat-server", INTRO, TABLE)
}

/// Every variable with its value in effect and where that came from; what is refused follows.
pub(super) fn run(source: &Source, args: &Args) -> Ended {
    if args.markdown {
        return Ended { text: documentation(), code: 0 };
    }
    let (config, mut effective) = Config::read(source);
    // Read in the order that suits the code, printed in the order of the documentation.
    let place = |name| TABLE.iter().flat_map(|part| part.variables).position(|v| v.name == name);
    effective.sort_by_key(|value| place(value.name));
    let width = effective.iter().map(|value| value.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for value in effective {
        let origin = match value.origin {
            Origin::Environment => "environment",
            Origin::File => "CONFIG_FILE",
            Origin::SecretFile => "secret file",
            Origin::Default => "default",
        };
        let shown = if value.shown.is_empty() { "(unset)" } else { &value.shown };
        writeln!(text, "{:<width$}  {shown}  [{origin}]", value.name)
            .expect("writing to a String cannot fail");
    }
    match config {
        Ok(_) => Ended { text, code: 0 },
        Err(errors) => {
            text.push_str(&format!("\nrefused:\n{errors}\n"));
            Ended { text, code: EXIT_CODE }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_page_is_the_output_of_this_command() {
        let committed = include_str!("../../../docs/CONFIGURATION.md");
        assert!(
            committed == documentation(),
            "write `chat-server config --markdown` to docs/CONFIGURATION.md"
        );
    }

    #[test]
    fn the_values_in_effect_say_where_they_come_from_and_keep_secrets() {
        let pairs = [("PORT", "9000"), ("DATABASE_URL", "postgres://veza:hunter2@db/veza")];
        let ended = run(&Source::from_pairs(pairs), &Args { markdown: false });
        let line = |name: &str| {
            let found = ended.text.lines().find(|line| line.starts_with(name)).unwrap();
            found.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(line("PORT "), "PORT 9000 [environment]");
        assert_eq!(line("WS_PORT"), "WS_PORT 8081 [default]");
        assert_eq!(line("MEMORY_LIMIT_MB"), "MEMORY_LIMIT_MB 8192 [default]");
        assert_eq!(line("DATABASE_URL"), "DATABASE_URL (set, not shown) [environment]");
        assert!(!ended.text.contains("hunter2"));
        assert_eq!(ended.code, 0);
    }

    #[test]
    fn refused_settings_are_still_shown_with_what_is_wrong() {
        let ended = run(&Source::from_pairs([("PORT", "x")]), &Args { markdown: false });
        assert_eq!(ended.code, EXIT_CODE);
        assert!(ended.text.contains("PORT: got \"x\""), "{}", ended.text);
    }
}
