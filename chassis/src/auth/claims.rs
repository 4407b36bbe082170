//! What a verified token says about its bearer.
//!
//! Responsible for: reading the claims of RFC 7519 and ours, their bounds, and the checks of
//! time, issuer and audience. Not for: signatures, and not for what a role or scope permits: the
//! services decide that. Pure: the time is an argument. Invariant: text in a `Claims` is bounded
//! and free of control and bidirectional characters, so it can be shown and logged.

use serde::Deserialize;
use serde_json::Value;

use super::token::TokenError;
use super::{UserId, text};

/// Clocks of issuer and server may differ by this many seconds: NTP keeps hosts within one
/// second, 30 covers virtual machines just resumed.
pub const SKEW_SECS: u64 = 30;

/// Longest display name in characters.
pub const NAME_CHARS_MAX: usize = 128;

/// Longest role or scope in characters.
const WORD_CHARS_MAX: usize = 128;

/// Most roles, and most scopes, of one token: at eight bytes each they fill half the token.
const WORDS_MAX: usize = 512;

/// Longest channel name in characters, as wide as the protocol's own bound.
const CHANNEL_CHARS_MAX: usize = 255;

/// Seconds since 1970 of the year 9999: a later date is an issuer that counts milliseconds.
const DATE_SECS_MAX: u64 = 253_402_300_799;

/// The identity and the rights a token carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims {
    /// `sub`; `None` when absent or empty: an anonymous token, which the caller may refuse.
    pub user: Option<UserId>,
    /// `exp` in Unix seconds. May lie up to [`SKEW_SECS`] in the past when verification passed.
    pub expires_at: Option<u64>,
    /// `name`, to be shown: at most [`NAME_CHARS_MAX`] characters.
    pub name: Option<String>,
    /// `roles`: an array of words, or a single one.
    pub roles: Vec<String>,
    /// `scope`: words separated by spaces (RFC 8693, 4.2), or an array of them.
    pub scope: Vec<String>,
    /// `channel`: the one channel a subscription token is good for.
    pub channel: Option<String>,
}

/// What a token must say beside carrying a good signature.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    pub(super) issuer: Option<String>,
    pub(super) audience: Option<String>,
    pub(super) exp_required: bool,
}

/// Claims as JSON; types are checked one by one so that the refusal can name the claim.
#[derive(Deserialize)]
struct Raw {
    sub: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    iss: Option<Value>,
    aud: Option<Value>,
    name: Option<Value>,
    roles: Option<Value>,
    scope: Option<Value>,
    channel: Option<Value>,
}

impl Claims {
    /// Reports whether the token grants `scope`, compared as a whole word.
    pub fn has_scope(&self, scope: &str) -> bool {
        self.scope.iter().any(|granted| granted == scope)
    }

    /// Reports whether the token carries `role`, compared as a whole word.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}

impl Rules {
    /// Reads `payload` (JSON, its signature already verified) at `now` in Unix seconds.
    pub(super) fn read(&self, payload: &[u8], now: u64) -> Result<Claims, TokenError> {
        let Ok(raw) = serde_json::from_slice::<Raw>(payload) else {
            return Err(TokenError::Malformed);
        };
        let expires_at = self.check_times(&raw, now)?;
        self.check_parties(&raw)?;
        Ok(Claims {
            user: user(raw.sub)?,
            expires_at,
            name: name(raw.name)?,
            roles: words(raw.roles, "roles", |role| vec![role])?,
            scope: words(raw.scope, "scope", |scope| {
                scope.split_ascii_whitespace().map(str::to_owned).collect()
            })?,
            channel: channel(raw.channel)?,
        })
    }

    fn check_times(&self, raw: &Raw, now: u64) -> Result<Option<u64>, TokenError> {
        let exp = date(raw.exp.as_ref(), "exp")?;
        let nbf = date(raw.nbf.as_ref(), "nbf")?;
        let iat = date(raw.iat.as_ref(), "iat")?;
        match exp {
            None if self.exp_required => return Err(TokenError::MissingExp),
            // RFC 7519, 4.1.4: on or after the date the token must not be accepted.
            Some(exp) if now >= exp + SKEW_SECS => return Err(TokenError::Expired),
            _ => {}
        }
        if nbf.max(iat).is_some_and(|start| start > now + SKEW_SECS) {
            return Err(TokenError::NotYetValid);
        }
        Ok(exp)
    }

    fn check_parties(&self, raw: &Raw) -> Result<(), TokenError> {
        if let Some(wanted) = &self.issuer
            && raw.iss.as_ref().and_then(Value::as_str) != Some(wanted)
        {
            return Err(TokenError::Issuer);
        }
        let Some(wanted) = &self.audience else {
            return Ok(());
        };
        let named = match &raw.aud {
            Some(Value::String(one)) => one == wanted,
            Some(Value::Array(many)) => many.iter().any(|one| one.as_str() == Some(wanted)),
            _ => false,
        };
        if named { Ok(()) } else { Err(TokenError::Audience) }
    }
}

fn user(sub: Option<Value>) -> Result<Option<UserId>, TokenError> {
    match sub {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some).or(Err(TokenError::Claim("sub"))),
        Some(_) => Err(TokenError::Claim("sub")),
    }
}

fn name(value: Option<Value>) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(name)) if name.is_empty() => Ok(None),
        Some(Value::String(name)) if text::is_name(&name, NAME_CHARS_MAX) => Ok(Some(name)),
        Some(_) => Err(TokenError::Claim("name")),
    }
}

fn channel(value: Option<Value>) -> Result<Option<String>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(channel)) if text::is_identifier(&channel, CHANNEL_CHARS_MAX) => {
            Ok(Some(channel))
        }
        Some(_) => Err(TokenError::Claim("channel")),
    }
}

/// Reads a list of words, given as an array or as one string that `split` takes apart.
fn words(
    value: Option<Value>,
    claim: &'static str,
    split: impl FnOnce(String) -> Vec<String>,
) -> Result<Vec<String>, TokenError> {
    let words: Vec<String> = match value {
        None => Vec::new(),
        Some(Value::String(text)) if text.is_empty() => Vec::new(),
        Some(Value::String(text)) => split(text),
        Some(array @ Value::Array(_)) => {
            serde_json::from_value(array).or(Err(TokenError::Claim(claim)))?
        }
        Some(_) => return Err(TokenError::Claim(claim)),
    };
    let good = words.len() <= WORDS_MAX
        && words.iter().all(|word| text::is_identifier(word, WORD_CHARS_MAX));
    if good { Ok(words) } else { Err(TokenError::Claim(claim)) }
}

/// Reads a `NumericDate` (RFC 7519, 2): seconds since 1970, a fraction allowed and dropped.
fn date(value: Option<&Value>, claim: &'static str) -> Result<Option<u64>, TokenError> {
    let Some(value) = value else {
        return Ok(None);
    };
    let whole = value.as_u64().or_else(|| value.as_f64().and_then(whole_seconds));
    match whole {
        Some(seconds) if seconds <= DATE_SECS_MAX => Ok(Some(seconds)),
        _ => Err(TokenError::Claim(claim)),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the range is checked first, dropping the fraction is wanted"
)]
fn whole_seconds(seconds: f64) -> Option<u64> {
    (0.0..1e15).contains(&seconds).then_some(seconds as u64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn read(rules: &Rules, payload: &Value) -> Result<Claims, TokenError> {
        rules.read(payload.to_string().as_bytes(), NOW)
    }

    fn read_plain(payload: Value) -> Result<Claims, TokenError> {
        read(&Rules::default(), &payload)
    }

    #[test]
    fn every_claim_arrives_where_it_belongs() {
        let claims = read_plain(json!({
            "sub": "alice", "exp": NOW + 60, "nbf": NOW, "iat": NOW, "name": "Alice",
            "roles": ["dj", "staff"], "scope": "ops:read chat:write", "channel": "news",
            "unknown": {"deep": [1, 2, 3]},
        }));
        let wanted = Claims {
            user: Some("alice".parse().unwrap()),
            expires_at: Some(NOW + 60),
            name: Some("Alice".to_owned()),
            roles: vec!["dj".to_owned(), "staff".to_owned()],
            scope: vec!["ops:read".to_owned(), "chat:write".to_owned()],
            channel: Some("news".to_owned()),
        };
        assert_eq!(claims, Ok(wanted));
    }

    #[test]
    fn a_token_without_subject_is_anonymous() {
        for payload in [json!({}), json!({"sub": ""}), json!({"sub": null})] {
            assert_eq!(read_plain(payload).unwrap().user, None);
        }
    }

    #[test]
    fn a_single_role_is_one_word_and_scope_may_be_an_array() {
        let claims = read_plain(json!({"roles": "admin", "scope": ["a", "b"]})).unwrap();
        assert!(claims.has_role("admin") && !claims.has_role("adm"));
        assert!(claims.has_scope("b") && !claims.has_scope("c"));
    }

    #[test]
    fn expiry_allows_the_skew_and_not_a_second_more() {
        let exp = |exp: u64| read_plain(json!({"exp": exp})).map(|claims| claims.expires_at);
        assert_eq!(exp(NOW - SKEW_SECS + 1), Ok(Some(NOW - SKEW_SECS + 1)));
        assert_eq!(exp(NOW - SKEW_SECS), Err(TokenError::Expired));
        assert_eq!(exp(0), Err(TokenError::Expired));
    }

    #[test]
    fn a_start_in_the_future_allows_the_skew_and_not_a_second_more() {
        for claim in ["nbf", "iat"] {
            let at = |second: u64| read_plain(json!({ claim: second })).map(|_| ());
            assert_eq!(at(NOW + SKEW_SECS), Ok(()));
            assert_eq!(at(NOW + SKEW_SECS + 1), Err(TokenError::NotYetValid));
        }
    }

    #[test]
    fn dates_may_have_a_fraction_and_must_be_dates() {
        assert_eq!(read_plain(json!({"exp": 1.9e9})).unwrap().expires_at, Some(1_900_000_000));
        for bad in [json!("soon"), json!(-1), json!(1e300), json!([1]), json!(NOW * 1000)] {
            assert_eq!(read_plain(json!({"exp": bad})), Err(TokenError::Claim("exp")));
        }
    }

    #[test]
    fn expiry_can_be_required() {
        let rules = Rules { exp_required: true, ..Rules::default() };
        assert_eq!(read(&rules, &json!({})), Err(TokenError::MissingExp));
        assert!(read(&rules, &json!({"exp": NOW + 1})).is_ok());
    }

    #[test]
    fn issuer_and_audience_are_compared_when_configured() {
        let rules = Rules {
            issuer: Some("veza".to_owned()),
            audience: Some("chat".to_owned()),
            exp_required: false,
        };
        let of =
            |iss: Value, aud: Value| read(&rules, &json!({"iss": iss, "aud": aud})).map(|_| ());
        assert_eq!(of(json!("veza"), json!("chat")), Ok(()));
        assert_eq!(of(json!("veza"), json!(["web", "chat"])), Ok(()));
        assert_eq!(of(json!("other"), json!("chat")), Err(TokenError::Issuer));
        assert_eq!(of(Value::Null, json!("chat")), Err(TokenError::Issuer));
        for aud in [json!("web"), json!(["web"]), json!([]), Value::Null, json!(1)] {
            assert_eq!(of(json!("veza"), aud), Err(TokenError::Audience));
        }
    }

    #[test]
    fn a_bad_claim_is_named() {
        let long = "n".repeat(129);
        for (claim, value) in [
            ("sub", json!(7)),
            ("sub", json!("a\u{202e}b")),
            ("sub", json!(long)),
            ("name", json!(long)),
            ("name", json!("a\nb")),
            ("roles", json!(7)),
            ("roles", json!(["a", 1])),
            ("roles", json!([""])),
            ("scope", json!({"a": 1})),
            ("channel", json!("")),
            ("channel", json!("c".repeat(256))),
        ] {
            assert_eq!(read_plain(json!({ claim: value })), Err(TokenError::Claim(claim)));
        }
    }

    #[test]
    fn claims_that_are_no_object_are_malformed() {
        for payload in ["", "[]", "7", "{", r#"{"sub":"a","sub":"b"}"#, "\u{feff}{}"] {
            let answer = Rules::default().read(payload.as_bytes(), NOW);
            assert_eq!(answer, Err(TokenError::Malformed), "{payload:?}");
        }
    }
}
