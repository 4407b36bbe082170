//! The program in README.md, run as it stands there with the official SDK.
//!
//! README shows the program and what it prints; both are taken from the page, so neither changes
//! without the other. Ids differ from run to run and are the same for the comparison.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::harness::{Stage, claims, unix};

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md");

/// Where the program connects; on the page it is the server of `make run`.
const ON_THE_PAGE: &str = "127.0.0.1:8081";

/// Seconds in which it must be done; alone it takes one.
const RUN_MAX: &str = "60";

/// The first block of this language below the heading of the walkthrough.
fn block(language: &str) -> String {
    let page = std::fs::read_to_string(README).unwrap();
    let section = page.split("\n## A room\n").nth(1).expect("README has the section");
    let block = section.split(&format!("\n```{language}\n")).nth(1).expect("and such a block");
    block.split("```").next().unwrap().to_owned()
}

/// A text with every id made the same.
fn masked(text: &str) -> String {
    let line = |line: &str| {
        let words = line.split(' ').map(|word| match word.parse::<Uuid>() {
            Ok(_) => "<id>",
            Err(_) => word,
        });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn named_token(user: &str, name: &str) -> String {
    claims(json!({ "sub": user, "name": name, "exp": unix() + 3600 }))
}

/// What `npm install` leaves beside a program.
fn modules() -> PathBuf {
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.local/node/node_modules");
    let hint = "the SDK clients are not installed: run `make test` or ops/dev/clients.sh";
    modules.canonicalize().expect(hint)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_of_the_readme_prints_what_the_readme_shows() {
    let stage = Stage::start().await;
    let program = block("js");
    assert_eq!(program.matches(ON_THE_PAGE).count(), 1, "it names its server once");
    let program = program.replace(ON_THE_PAGE, &stage.addresses.connections.to_string());
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("walkthrough.mjs"), program).unwrap();
    std::os::unix::fs::symlink(modules(), folder.path().join("node_modules")).unwrap();

    let mut node = Command::new("timeout");
    node.current_dir(folder.path()).args([RUN_MAX, "node", "walkthrough.mjs"]);
    node.args([named_token("ann", "Ann"), named_token("bob", "Bob")]);
    let output = spawn_blocking(move || node.output().unwrap()).await.unwrap();

    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complaints}", output.status);
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(masked(&printed), masked(&block("text")));
    assert_eq!(stage.stop().await.forced, 0, "tasks were left behind");
}

#[test]
fn the_program_of_the_readme_is_short_enough_to_be_read() {
    let program = block("js");
    assert!(program.lines().count() < 80);
    assert!(program.lines().all(|line| line.chars().count() <= 100));
}
