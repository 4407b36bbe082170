//! Reads the variables of a table from a source, collecting every problem and warning.
//!
//! A variable with a bad value is noted and its default used, so that one start names all problems;
//! [`Reader::finish`] then refuses the whole. The reader also keeps the effective value of each
//! variable, secrets aside, for `config` to print, and knows which variables of its table were
//! never asked for, so that a test can hold the table and the code together.
//!
//! A mismatch between a variable's kind and the type asked for is a mistake in the program, found
//! by the first test that reads the configuration: it panics and names the variable.

mod file;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::kind::Value;
use super::{CONFIG_FILE, ConfigError, ConfigErrors, ENVIRONMENT, Problem};
use super::{Environment, Kind, Section, Source, Var};
use crate::runtime::Machine;

/// The largest file a `NAME_FILE` variable may point to: a secret is a line, not a document.
const SECRET_FILE_BYTES_MAX: u64 = 64 * 1024;

/// Where an effective value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The process environment.
    Environment,
    /// The settings file named by `CONFIG_FILE`.
    File,
    /// The file named by `NAME_FILE`.
    SecretFile,
    /// The default.
    Default,
}

/// The value a variable ended up with, as it may be shown.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The variable.
    pub name: &'static str,
    /// Its value; secrets are replaced, nothing is an empty text.
    pub shown: String,
    /// Where it came from.
    pub origin: Origin,
}

/// One reading of a program's variables.
///
/// Its debug form leaves the values out, for some are secrets.
pub struct Reader<'a> {
    source: &'a Source,
    file: BTreeMap<String, String>,
    table: &'a [Section],
    environment: Environment,
    effective: Vec<Effective>,
    warnings: Vec<String>,
    errors: Vec<ConfigError>,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("environment", &self.environment)
            .field("effective", &self.effective)
            .field("warnings", &self.warnings)
            .field("errors", &self.errors)
            .finish_non_exhaustive()
    }
}

/// A type a [`Value`] can become.
pub trait FromValue: Sized {
    /// Takes the value apart; `None` when it is of another kind.
    fn from_value(value: Value) -> Option<Self>;
}

impl<'a> Reader<'a> {
    /// Starts a reading: the settings file and `ENVIRONMENT` are read first.
    #[must_use]
    pub fn new(source: &'a Source, table: &'a [Section]) -> Self {
        let mut reader = Self {
            source,
            file: BTreeMap::new(),
            table,
            environment: Environment::Development,
            effective: Vec::new(),
            warnings: Vec::new(),
            errors: Vec::new(),
        };
        if let Some(path) = reader.find::<PathBuf>(&CONFIG_FILE) {
            match file::read(&path, table) {
                Ok(values) => reader.file = values,
                Err(errors) => reader.errors.extend(errors.0),
            }
        }
        if reader.get::<String>(&ENVIRONMENT) == Environment::Production.as_str() {
            reader.environment = Environment::Production;
        }
        reader
    }

    /// Where the program runs.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.environment
    }

    /// What the machine offers, for derived defaults.
    #[must_use]
    pub fn machine(&self) -> Machine {
        self.source.machine()
    }

    /// The value of a variable that has a default in every environment.
    ///
    /// # Panics
    /// When the variable has no default or is of another kind: a mistake in the table.
    pub fn get<T: FromValue>(&mut self, var: &'static Var) -> T {
        let value = self.value(var);
        convert(var, value).unwrap_or_else(|| panic!("{} has no default", var.name))
    }

    /// The value of a variable that may be absent.
    ///
    /// # Panics
    /// When the variable is of another kind: a mistake in the table.
    pub fn find<T: FromValue>(&mut self, var: &'static Var) -> Option<T> {
        let value = self.value(var);
        convert(var, value)
    }

    /// The value of a variable whose default is computed.
    ///
    /// # Panics
    /// When the variable is of another kind: a mistake in the table.
    pub fn get_or<T: FromValue + ToString>(&mut self, var: &'static Var, derived: T) -> T {
        if let Some(given) = self.find(var) {
            return given;
        }
        if let Some(effective) = self.effective.last_mut() {
            effective.shown = var.kind.spelled(&derived.to_string());
        }
        derived
    }

    /// A secret, from the variable itself or from the file `NAME_FILE` names.
    pub fn secret(&mut self, var: &'static Var) -> Option<SecretString> {
        self.find::<String>(var).map(SecretString::from)
    }

    /// Whether an operator set this variable, well or badly.
    #[must_use]
    pub fn is_set(&self, var: &Var) -> bool {
        let names = [var.name.to_owned(), var.file_name()];
        let given = |name: &String| self.source.get(name).is_some() || self.file.contains_key(name);
        names.iter().take(if var.secret { 2 } else { 1 }).any(given)
    }

    /// Notes that a value is unacceptable for a reason its kind alone cannot know.
    pub fn refuse(&mut self, var: &Var, problem: Problem) {
        self.errors.push(ConfigError { variable: var.name.to_owned(), problem });
    }

    /// Notes something an operator should know although the program starts.
    pub fn warn(&mut self, warning: impl Into<String>) {
        self.warnings.push(warning.into());
    }

    /// Reads a variable whose work comes later: it must be valid, and setting it gives a warning.
    pub fn later(&mut self, var: &'static Var) {
        let wanted = self.value(var).is_some_and(|value| value != Value::Flag(false));
        if wanted {
            self.warn_unused(var);
        }
    }

    /// Warns of a variable whose work comes later, when an operator set it.
    pub fn warn_unused(&mut self, var: &Var) {
        if let (true, Some(what)) = (self.is_set(var), var.later) {
            self.warn(format!("{} is set but not used by this version: {what}", var.name));
        }
    }

    /// The values in reading order, as they may be shown.
    #[must_use]
    pub fn effective(&self) -> &[Effective] {
        &self.effective
    }

    /// Variables of the table nobody has asked for.
    #[must_use]
    pub fn unread(&self) -> Vec<&'static str> {
        let asked = |var: &&&Var| !self.effective.iter().any(|value| value.name == var.name);
        let all = self.table.iter().flat_map(|section| section.variables);
        all.filter(asked).map(|var| var.name).collect()
    }

    /// Ends the reading with its warnings.
    ///
    /// # Errors
    /// Every problem met, when there was one.
    pub fn finish(self) -> Result<Vec<String>, ConfigErrors> {
        ConfigErrors::from_list(self.errors).map_or(Ok(self.warnings), Err)
    }

    fn value(&mut self, var: &'static Var) -> Option<Value> {
        debug_assert!(
            self.table.iter().flat_map(|s| s.variables).any(|known| known.name == var.name),
            "{} is read but stands in no table",
            var.name
        );
        let (given, origin) = match self.given(var) {
            Ok(found) => found,
            Err(problem) => {
                self.errors.push(problem);
                (None, Origin::Default)
            }
        };
        let parsed = given.as_deref().map(|text| (text, var.kind.parse(text)));
        if let Some((text, None)) = parsed {
            let problem = Problem::Invalid { got: var.shown(text), takes: var.kind.takes() };
            self.refuse(var, problem);
        }
        let shown = match &given {
            Some(_) if var.secret => "(set, not shown)".to_owned(),
            Some(text) => text.clone(),
            None => var.fallback.text(self.environment).unwrap_or_default().to_owned(),
        };
        let value = parsed.and_then(|(_, value)| value);
        self.effective.push(Effective { name: var.name, shown, origin });
        value.or_else(|| self.fallback(var))
    }

    /// The default, which for a path may turn out not to be usable on this machine.
    fn fallback(&mut self, var: &'static Var) -> Option<Value> {
        let text = var.fallback.text(self.environment)?;
        let value = var.kind.parse(text);
        if value.is_none() && matches!(var.kind, Kind::Path(_)) {
            let got = var.shown(text);
            let takes = var.kind.takes();
            self.refuse(var, Problem::Invalid { got, takes });
            return Some(Value::Path(PathBuf::from(text)));
        }
        value
    }

    fn given(&self, var: &'static Var) -> Result<(Option<String>, Origin), ConfigError> {
        let direct = self.text(var.name)?;
        if !var.secret {
            return Ok(direct);
        }
        let file_name = var.file_name();
        let (path, _) = self.text(&file_name)?;
        match (direct, path) {
            ((Some(_), _), Some(_)) => Err(ConfigError {
                variable: var.name.to_owned(),
                problem: Problem::Conflict { other: file_name },
            }),
            (direct, None) => Ok(direct),
            ((None, _), Some(path)) => read_secret(&path)
                .map(|secret| (Some(secret), Origin::SecretFile))
                .map_err(|reason| ConfigError {
                    variable: file_name,
                    problem: Problem::Unreadable { path, reason },
                }),
        }
    }

    fn text(&self, name: &str) -> Result<(Option<String>, Origin), ConfigError> {
        if let Some(value) = self.source.get(name) {
            let Some(text) = value.to_str() else {
                return Err(ConfigError {
                    variable: name.to_owned(),
                    problem: Problem::Invalid {
                        got: "bytes that are not UTF-8".to_owned(),
                        takes: "text in UTF-8".to_owned(),
                    },
                });
            };
            return Ok((Some(text.to_owned()), Origin::Environment));
        }
        Ok(match self.file.get(name) {
            Some(text) => (Some(text.clone()), Origin::File),
            None => (None, Origin::Default),
        })
    }
}

fn convert<T: FromValue>(var: &Var, value: Option<Value>) -> Option<T> {
    let wrong = || panic!("{} is asked for as another kind than its table says", var.name);
    value.map(|value| T::from_value(value).unwrap_or_else(wrong))
}

fn read_secret(path: &str) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > SECRET_FILE_BYTES_MAX {
        return Err(format!("longer than {SECRET_FILE_BYTES_MAX} bytes"));
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err("it is empty".to_owned()) } else { Ok(secret.to_owned()) }
}

macro_rules! from_value {
    ($($type:ty: $pattern:pat => $value:expr,)*) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    $pattern => $value,
                    _ => None,
                }
            }
        }
    )*};
}

from_value! {
    bool: Value::Flag(flag) => Some(flag),
    u16: Value::Port(port) => Some(port),
    u32: Value::Count(count) => u32::try_from(count).ok(),
    u64: Value::Count(count) => Some(count),
    usize: Value::Count(count) => usize::try_from(count).ok(),
    Duration: Value::Duration(duration) => Some(duration),
    IpAddr: Value::Host(host) => Some(host),
    PathBuf: Value::Path(path) => Some(path),
    String: Value::Text(text) => Some(text),
    Vec<String>: Value::List(items) => Some(items),
}

#[cfg(test)]
mod tests;
