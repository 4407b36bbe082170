//! What the reader does with good, bad, absent and contradictory values.

use std::io::Write;

use secrecy::ExposeSecret;
use tempfile::NamedTempFile;

use super::super::{Fallback, Kind, Unit};
use super::*;

static PORT: Var = Var::new("PORT", Kind::Port, Fallback::Value("8080"), "A port.");
static WAIT: Var = Var::new(
    "WAIT_MS",
    Kind::Amount { unit: Unit::Millis, min: 1, max: 1000 },
    Fallback::Each { development: "10", production: "100" },
    "A wait.",
);
static WORKERS: Var =
    Var::new("WORKERS", Kind::Count { min: 1, max: 64 }, Fallback::Derived("2 x cores"), "Some.");
static KEY: Var =
    Var::new("KEY", super::super::kind::KEY_MATERIAL, Fallback::Unset, "A key.").secret();
static BUS: Var = Var::new("BUS_URL", Kind::Url(&["redis"]), Fallback::Unset, "A bus.")
    .secret()
    .later("the bus is in-process");
static TABLE: &[Section] = &[Section {
    title: "All",
    variables: &[&CONFIG_FILE, &ENVIRONMENT, &PORT, &WAIT, &WORKERS, &KEY, &BUS],
}];

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn errors(source: &Source) -> String {
    let mut reader = Reader::new(source, TABLE);
    reader.get::<u16>(&PORT);
    reader.get::<Duration>(&WAIT);
    reader.secret(&KEY);
    reader.finish().unwrap_err().to_string()
}

#[test]
fn defaults_follow_the_environment() {
    let source = Source::from_pairs([("ENVIRONMENT", "production")]);
    let mut reader = Reader::new(&source, TABLE);
    assert_eq!(reader.get::<u16>(&PORT), 8080);
    assert_eq!(reader.get::<Duration>(&WAIT), Duration::from_millis(100));
    assert_eq!(reader.get_or::<usize>(&WORKERS, 4), 4);
    assert_eq!(reader.unread(), ["KEY", "BUS_URL"]);
    assert_eq!(reader.finish().unwrap(), [""; 0]);
}

#[test]
fn all_bad_values_are_named_at_once_with_what_they_got_and_take() {
    let source = Source::from_pairs([("PORT", "http"), ("WAIT_MS", "0"), ("KEY", "a\nb")]);
    let text = errors(&source);
    assert!(text.contains(r#"PORT: got "http", takes a port, 0 to 65535"#), "{text}");
    assert!(text.contains(r#"WAIT_MS: got "0", takes milliseconds, 1 to 1000"#), "{text}");
    assert!(text.contains("KEY: got a value that is not shown"), "{text}");
    assert!(!text.contains("a\nb") && !text.contains("a\\nb"), "{text}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let file = file("PORT = 1234\nWAIT_MS = \"20\"\n");
    let path = file.path().to_str().unwrap();
    let source = Source::from_pairs([("CONFIG_FILE", path), ("PORT", "4321")]);
    let mut reader = Reader::new(&source, TABLE);
    assert_eq!(reader.get::<u16>(&PORT), 4321);
    assert_eq!(reader.get::<Duration>(&WAIT), Duration::from_millis(20));
    assert_eq!(reader.effective().last().unwrap().origin, Origin::File);
}

#[test]
fn an_unknown_name_in_the_file_is_an_error_that_names_it() {
    let file = file("PROT = 1234\nCONFIG_FILE = \"other\"\n[PORT]\nx = 1\n");
    let text = errors(&Source::from_pairs([("CONFIG_FILE", file.path().to_str().unwrap())]));
    assert!(text.contains("PROT: got a value in"), "{text}");
    assert!(text.contains("CONFIG_FILE: got a value in"), "{text}");
    assert!(text.contains("PORT: got a TOML table"), "{text}");
}

#[test]
fn a_broken_file_is_reported_without_its_lines() {
    let file = file("KEY = \"hunter2\n");
    let text = errors(&Source::from_pairs([("CONFIG_FILE", file.path().to_str().unwrap())]));
    assert!(text.contains("CONFIG_FILE") && !text.contains("hunter2"), "{text}");
}

#[test]
fn a_secret_comes_from_its_file_without_the_last_newline() {
    let file = file("hunter2\n");
    let source = Source::from_pairs([("KEY_FILE", file.path().to_str().unwrap())]);
    let mut reader = Reader::new(&source, TABLE);
    assert_eq!(reader.secret(&KEY).unwrap().expose_secret(), "hunter2");
    assert_eq!(reader.effective().last().unwrap().shown, "(set, not shown)");
}

#[test]
fn a_secret_given_twice_or_in_a_missing_or_empty_file_is_refused() {
    let text = errors(&Source::from_pairs([("KEY", "a"), ("KEY_FILE", "/dev/null")]));
    assert!(text.contains("KEY: is set together with KEY_FILE"), "{text}");
    let text = errors(&Source::from_pairs([("KEY_FILE", "/nonexistent/key")]));
    assert!(text.contains("KEY_FILE: got /nonexistent/key, takes a readable file"), "{text}");
    let text = errors(&Source::from_pairs([("KEY_FILE", "/dev/null")]));
    assert!(text.contains("KEY_FILE") && text.contains("it is empty"), "{text}");
}

#[test]
fn a_variable_of_a_later_version_warns_only_when_set() {
    let source = Source::from_pairs([("BUS_URL", "redis://host:6379")]);
    let mut reader = Reader::new(&source, TABLE);
    reader.later(&BUS);
    let warnings = reader.finish().unwrap();
    assert!(warnings[0].starts_with("BUS_URL is set but not used"), "{warnings:?}");

    let source = Source::from_pairs([("PORT", "1")]);
    let mut reader = Reader::new(&source, TABLE);
    reader.later(&BUS);
    assert!(reader.finish().unwrap().is_empty());
}
