//! The settings file: TOML, one `NAME = value` per variable, names as in the environment.
//!
//! Values become the text an operator would have written into the environment, and are then read
//! by the same kinds. A name no table knows is an error, for a misspelt limit would otherwise
//! silently be the default.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::super::{CONFIG_FILE, ConfigError, ConfigErrors, Problem, Section};

/// Reads the file into names and texts; every unknown or unusable name is reported.
pub(super) fn read(
    path: &Path,
    table: &[Section],
) -> Result<BTreeMap<String, String>, ConfigErrors> {
    let unreadable = |reason: String| ConfigError {
        variable: CONFIG_FILE.name.to_owned(),
        problem: Problem::Unreadable { path: path.display().to_string(), reason },
    };
    let text = fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let parsed: Table = text.parse().map_err(|error: toml::de::Error| {
        // The parser's own message quotes the line, and a line may hold a secret.
        unreadable(format!("not TOML: {}", error.message()))
    })?;
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    for (name, value) in parsed {
        let problem = if !is_known(&name, table) {
            Problem::Unknown { file: path.display().to_string() }
        } else if let Some(text) = as_text(&value) {
            values.insert(name, text);
            continue;
        } else {
            let got = format!("a TOML {}", value.type_str());
            Problem::Invalid { got, takes: "text, a number, true, false or a list".to_owned() }
        };
        errors.push(ConfigError { variable: name, problem });
    }
    ConfigErrors::from_list(errors).map_or(Ok(values), Err)
}

fn is_known(name: &str, table: &[Section]) -> bool {
    let mut all = table.iter().flat_map(|section| section.variables);
    // The file cannot name another file: there is one.
    name != CONFIG_FILE.name
        && all.any(|var| var.name == name || (var.secret && var.file_name() == name))
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<_>> = items.iter().map(|item| item.as_str()).collect();
            Some(items?.join(","))
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}
