//! One variable: its name, what it takes, what it defaults to and what it is for.
//!
//! Everything is a constant, so that a table of variables costs nothing and can be printed without
//! reading the environment. A default is written as an operator would write it and is parsed by
//! the same [`Kind`] as a given value; a test of each table holds every default valid.

use std::fmt;

use super::Kind;

/// Where a program runs: on somebody's desk or before the public.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Environment {
    /// Everything works without configuration, for one person on one machine.
    #[default]
    Development,
    /// Nothing unsafe is assumed; what is unsafe is refused.
    Production,
}

/// What stands in for a variable that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// Nothing: what the variable describes is absent or off.
    Unset,
    /// The same value everywhere.
    Value(&'static str),
    /// A value for each environment.
    Each {
        /// In development.
        development: &'static str,
        /// In production.
        production: &'static str,
    },
    /// Computed at start; the text says from what.
    Derived(&'static str),
    /// Computed at start by another rule in each environment; the texts are Markdown.
    DerivedEach {
        /// The rule of development.
        development: &'static str,
        /// The rule of production.
        production: &'static str,
    },
    /// Nothing in production, where it must be set; the text says what development does.
    Required {
        /// What development does without it.
        development: &'static str,
    },
}

/// Where a variable is set in a production deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The deployment's environment: `ConfigMap`, unit file, compose file.
    Environment,
    /// The secret store, mounted as a file and named by `NAME_FILE`.
    Secret,
    /// A mounted file or volume, its path in the deployment's environment.
    Mount,
}

/// A variable of a program.
#[derive(Debug, Clone, Copy)]
pub struct Var {
    /// Its name in the environment and in the settings file.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What stands in when it is not set.
    pub fallback: Fallback,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// The value is never shown, and `NAME_FILE` may name a file that holds it.
    pub secret: bool,
    /// Set when the value is read and validated but its work belongs to a later version.
    pub later: Option<&'static str>,
}

/// Variables that belong together, with a heading for the printed table.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// The variables in reading order.
    pub variables: &'static [&'static Var],
}

impl Environment {
    /// The word `ENVIRONMENT` takes for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Development => "development",
            Self::Production => "production",
        }
    }

    /// Whether this is production.
    #[must_use]
    pub const fn is_production(self) -> bool {
        matches!(self, Self::Production)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Fallback {
    /// The default written out, where there is one for this environment.
    #[must_use]
    pub const fn text(self, environment: Environment) -> Option<&'static str> {
        match (self, environment) {
            (Self::Value(text), _) => Some(text),
            (Self::Each { development, .. }, Environment::Development) => Some(development),
            (Self::Each { production, .. }, Environment::Production) => Some(production),
            (
                Self::Unset | Self::Derived(_) | Self::DerivedEach { .. } | Self::Required { .. },
                _,
            ) => None,
        }
    }
}

impl Var {
    /// A variable that is shown, with work to do in this version.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: Kind,
        fallback: Fallback,
        help: &'static str,
    ) -> Self {
        Self { name, kind, fallback, help, secret: false, later: None }
    }

    /// The same variable as a secret: never shown, and also read from `NAME_FILE`.
    #[must_use]
    pub const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// The same variable, marked as read and validated now but at work only later.
    #[must_use]
    pub const fn later(mut self, what: &'static str) -> Self {
        self.later = Some(what);
        self
    }

    /// The name of the variable that names a file holding this secret.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}_FILE", self.name)
    }

    /// Where it is set in production.
    #[must_use]
    pub const fn place(&self) -> Place {
        match self.kind {
            _ if self.secret => Place::Secret,
            Kind::Path(_) => Place::Mount,
            _ => Place::Environment,
        }
    }

    /// A value as it may be shown in errors and logs: quoted, short, never a secret.
    #[must_use]
    pub fn shown(&self, value: &str) -> String {
        /// Longer values are cut: an error is one line.
        const CHARS_MAX: usize = 80;
        if self.secret {
            return "a value that is not shown".to_owned();
        }
        let mut text: String = value.chars().take(CHARS_MAX).collect();
        if text.len() < value.len() {
            text.push('…');
        }
        format!("{text:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Var = Var::new("PLAIN", Kind::Flag, Fallback::Value("true"), "A flag.");

    #[test]
    fn a_secret_is_never_shown() {
        let secret = PLAIN.secret();
        assert!(!secret.shown("hunter2").contains("hunter2"));
        assert_eq!(secret.file_name(), "PLAIN_FILE");
        assert_eq!(secret.place(), Place::Secret);
    }

    #[test]
    fn a_shown_value_is_quoted_and_cut() {
        assert_eq!(PLAIN.shown("a\nb"), r#""a\nb""#);
        assert!(PLAIN.shown(&"x".repeat(500)).chars().count() < 100);
    }
}
