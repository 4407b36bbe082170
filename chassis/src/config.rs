//! Typed values and secrets from the environment; the only reader of it.
//!
//! A variable is a constant [`Var`]: its name, the [`Kind`] of value it takes, its default and what
//! it is for. The same tables are read by a service ([`Reader`]), printed as documentation
//! ([`markdown`]) and walked by a test that gives every variable a bad value.
//!
//! Reading order: the process environment, then the TOML file named by `CONFIG_FILE`, then the
//! default. An empty value counts as unset. Every problem is collected, so that one start names all
//! of them; a service prints [`ConfigErrors`] and leaves with [`EXIT_CODE`] before it binds.
//!
//! Not here: what the values mean together (a service's own `config` decides that), and no secret
//! is ever part of an error, a warning or the printed effective values.

pub mod kind;
pub mod markdown;
pub mod reader;
pub mod secret;
pub mod source;
pub mod variable;

use std::fmt;

pub use kind::{Kind, PathIs, Unit};
pub use reader::{Effective, Origin, Reader};
pub use source::Source;
pub use variable::{Environment, Fallback, Place, Section, Var};

/// What a process exits with when its configuration is refused: `EX_USAGE` of `sysexits.h`.
pub const EXIT_CODE: u8 = 64;

/// Where the program runs; it decides defaults and what is refused.
pub static ENVIRONMENT: Var = Var::new(
    "ENVIRONMENT",
    Kind::Choice(&["development", "production"]),
    Fallback::Value("development"),
    "Decides defaults, and in production what is refused at start: a weak or missing secret, \
     anonymous access, no TLS.",
);

/// The optional settings file.
pub static CONFIG_FILE: Var = Var::new(
    "CONFIG_FILE",
    Kind::Path(PathIs::File),
    Fallback::Unset,
    "TOML file of variables, `NAME = value` each; the environment wins over it and an unknown \
     name in it is an error.",
);

/// The variables every reading begins with.
pub const SECTION: Section =
    Section { title: "Where it runs", variables: &[&ENVIRONMENT, &CONFIG_FILE] };

/// One variable that cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    /// The name of the variable, or of the unknown key in the settings file.
    pub variable: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What can be wrong with a variable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The value is not one the variable takes; `got` never holds a secret.
    #[error("got {got}, takes {takes}")]
    Invalid {
        /// The value as it may be shown.
        got: String,
        /// What would be accepted.
        takes: String,
    },
    /// No value, and none can be assumed.
    #[error("is not set, takes {takes}")]
    Missing {
        /// What would be accepted.
        takes: String,
    },
    /// Two variables that exclude each other are both set.
    #[error("is set together with {other}, takes one of the two")]
    Conflict {
        /// The other variable.
        other: String,
    },
    /// A variable that makes sense only with another one.
    #[error("is set without {other}, takes both or neither")]
    Alone {
        /// The variable that is missing.
        other: String,
    },
    /// The settings file names something this program does not know.
    #[error("got a value in {file}, takes none: no variable has this name")]
    Unknown {
        /// The path of the settings file.
        file: String,
    },
    /// A file the variable points to could not be read.
    #[error("got {path}, takes a readable file: {reason}")]
    Unreadable {
        /// The path as given.
        path: String,
        /// The operating system's or the parser's reason.
        reason: String,
    },
}

/// Every problem found in one reading of the configuration; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Wraps a list of problems; `None` when there are none.
    #[must_use]
    pub fn from_list(errors: Vec<ConfigError>) -> Option<Self> {
        (!errors.is_empty()).then_some(Self(errors))
    }

    /// The problems in the order they were met.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl std::error::Error for ConfigErrors {}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
