//! The words of the protocol that stand here and there in the code: reasons of errors, and methods.
//!
//! They are read from the source as text, because each is written where it is decided. A reason
//! is a literal in one of the places where the house writes reasons; a method is an arm of a
//! family's `call`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where errors of commands are made.
const FOLDERS: [&str; 6] = ["channel", "command", "protocol", "room", "session", "store"];

/// What a reason stands behind.
const BEFORE: [&str; 13] = [
    "with_reason(",
    "denied(",
    "not_available(",
    "unavailable(",
    "failed(",
    "suspect(",
    "Busy(",
    "Down(",
    "Suspect(",
    "too_fast(wait,",
    "reason:",
    "what:",
    "ErrorCode::",
];

/// Reasons of what no client can ask for: erasure is for whoever runs the server.
const UNSENT: [&str; 1] = ["placeholder"];

/// Everything that errors of commands give as their reason.
pub(super) fn reasons() -> BTreeSet<String> {
    let mut reasons = BTreeSet::new();
    for source in sources().iter().map(|path| code(path)) {
        reasons.extend(BEFORE.iter().flat_map(|before| behind(&source, before)));
        reasons.extend(second_arguments(&source, "invalid("));
        reasons.extend(reason_arms(&source));
    }
    let tokens = root().join("../chassis/src/auth/token.rs");
    reasons.extend(reason_arms(&code(&tokens)));
    let shared = code(&root().join("src/nodes/log.rs"));
    reasons.extend(reason_arms(&shared));
    reasons.extend(behind(&shared, "unavailable("));
    for unsent in UNSENT {
        assert!(reasons.remove(unsent), "{unsent} is no reason");
    }
    reasons
}

/// Everything that can be called.
pub(super) fn methods() -> BTreeSet<String> {
    let folder = root().join("src/command/rpc");
    let dispatch = code(&folder.with_extension("rs"));
    let mut methods = BTreeSet::new();
    for arm in dispatch.split("::call(").collect::<Vec<_>>().windows(2) {
        let arm = arm[0].lines().last().unwrap();
        let (families, file) = arm.split_once("=>").unwrap();
        let source = code(&folder.join(file.trim()).with_extension("rs"));
        let call = source.split("async fn call(").nth(1).unwrap().split("\n}").next().unwrap();
        for pattern in call.lines().filter_map(|line| line.split_once(" =>")) {
            match literals(pattern.0).as_slice() {
                [] => {}
                [verb] => {
                    let family = literals(families).remove(0);
                    methods.insert(format!("{family}.{verb}"));
                }
                words => assert!(methods.insert(words.join("."))),
            }
        }
    }
    methods
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files of the folders, without tests.
fn sources() -> Vec<PathBuf> {
    let src = root().join("src");
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| src.join(folder)).collect();
    let mut files: Vec<_> = folders.iter().map(|folder| folder.with_extension("rs")).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.file_stem().and_then(|name| name.to_str()) {
                Some("tests" | "documented") | None => {}
                Some(_) if path.is_dir() => folders.push(path),
                Some(_) => files.push(path),
            }
        }
    }
    files
}

/// The code of a file without its tests and comments.
fn code(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The literals that stand directly behind some words.
fn behind(source: &str, before: &str) -> Vec<String> {
    let found = source.split(before).skip(1).filter_map(|rest| match before {
        "ErrorCode::" => literal(rest.trim_start_matches(char::is_alphanumeric).strip_prefix(',')?),
        _ => literal(rest),
    });
    found.collect()
}

/// The literals that are the second argument of a call.
fn second_arguments(source: &str, call: &str) -> Vec<String> {
    let found = source.split(call).skip(1);
    found.filter_map(|rest| literal(rest.split_once(',')?.1)).collect()
}

/// What the functions called `reason` of a file give.
fn reason_arms(source: &str) -> Vec<String> {
    let functions = source.split("fn reason(").skip(1);
    let bodies = functions.map(|rest| rest.split("\n    }\n").next().unwrap());
    bodies.flat_map(|body| behind(body, "=>")).collect()
}

/// The literal a text begins with, if it is a word of the protocol.
fn literal(text: &str) -> Option<String> {
    let (word, _) = text.trim_start().strip_prefix('"')?.split_once('"')?;
    let is_word = |part: char| part.is_ascii_lowercase() || part.is_ascii_digit() || part == '_';
    (!word.is_empty() && word.chars().all(is_word)).then(|| word.to_owned())
}

/// All literals in a text.
fn literals(text: &str) -> Vec<String> {
    text.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}
