//! The fields of a request: each is there or not, and right or refused by its name.

use std::fmt::Display;
use std::str::FromStr;

use serde_json::{Map, Value};

use super::Refusal;
use crate::protocol::{ErrorCode, ErrorReply, Json};

/// The fields of one request; unknown ones are ignored.
#[derive(Debug)]
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of an object; nothing at all is an object without any.
    ///
    /// # Errors
    /// 400 `data` when it is something else.
    pub(crate) fn parse(data: Option<&Json>) -> Result<Self, Refusal> {
        let Some(data) = data else { return Ok(Self(Map::new())) };
        match serde_json::from_slice(data.as_bytes()) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            _ => Err(invalid("data", "type", "data is an object")),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn text(&self, field: &'static str) -> Result<&str, Refusal> {
        self.maybe_text(field)?.ok_or_else(|| missing(field))
    }

    /// A text that may be there; `null` is none.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn maybe_text(&self, field: &'static str) -> Result<Option<&str>, Refusal> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(field, "type", format!("{field} is a text"))),
        }
    }

    /// An identifier or word that must be there.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn word<T: FromStr<Err: Display>>(&self, field: &'static str) -> Result<T, Refusal> {
        self.maybe_word(field)?.ok_or_else(|| missing(field))
    }

    /// An identifier or word that may be there.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn maybe_word<T: FromStr<Err: Display>>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, Refusal> {
        let parse = |text: &str| {
            text.parse().map_err(|error| invalid(field, "format", format!("{field}: {error}")))
        };
        self.maybe_text(field)?.map(parse).transpose()
    }

    /// A number that may be there: whole, not negative, below 2^53.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn maybe_number(&self, field: &'static str) -> Result<Option<u64>, Refusal> {
        const MAX: u64 = 1 << 53;
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_u64() {
                Some(number) if number < MAX => Ok(Some(number)),
                _ => {
                    let words = format!("{field} is a whole number from 0 to below 2^53");
                    Err(invalid(field, "type", words))
                }
            },
        }
    }

    /// A number that must be there.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn number(&self, field: &'static str) -> Result<u64, Refusal> {
        self.maybe_number(field)?.ok_or_else(|| missing(field))
    }

    /// True or false, or nothing.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub(crate) fn maybe_flag(&self, field: &'static str) -> Result<Option<bool>, Refusal> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(invalid(field, "type", format!("{field} is true or false"))),
        }
    }

    /// A list of identifiers or words; nothing is an empty one.
    ///
    /// # Errors
    /// 400 with the field's name, 400 `too_many` over `most`.
    pub(crate) fn words<T: FromStr<Err: Display>>(
        &self,
        field: &'static str,
        most: usize,
    ) -> Result<Vec<T>, Refusal> {
        let list = match self.0.get(field) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(_) => return Err(invalid(field, "type", format!("{field} is a list"))),
        };
        if list.len() > most {
            let error = ErrorReply::new(ErrorCode::Validation).with_reason("too_many");
            return Err(error.with_field(field).with_limit(most as u64, list.len() as u64).into());
        }
        let parse = |value: &Value| match value {
            Value::String(text) => {
                text.parse().map_err(|error| invalid(field, "format", format!("{field}: {error}")))
            }
            _ => Err(invalid(field, "type", format!("{field} is a list of texts"))),
        };
        list.iter().map(parse).collect()
    }

    /// True when the field is there and says `null`, for those in which that means something.
    #[must_use]
    pub(crate) fn is_null(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(Value::is_null)
    }

    /// True when the field is there at all.
    #[must_use]
    pub(crate) fn has(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(|value| !value.is_null())
    }
}

/// A field has a value that is not allowed.
pub(crate) fn invalid(
    field: &'static str,
    reason: &'static str,
    message: impl Into<String>,
) -> Refusal {
    ErrorReply::new(ErrorCode::Validation)
        .with_message(message.into())
        .with_reason(reason)
        .with_field(field)
        .into()
}

fn missing(field: &'static str) -> Refusal {
    invalid(field, "missing", format!("{field} is missing"))
}
