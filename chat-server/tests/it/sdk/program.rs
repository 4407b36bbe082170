//! A client program as a child process, and the line protocol with it.
//!
//! The program reads one line of JSON with the addresses, then answers to its questions; it
//! writes `ok NAME`, `FAIL NAME: why` and `ASK {"id":1,"act":..}`. Questions are answered one at
//! a time, in order. Not here: what the acts do, which is the stage's.
//!
//! The pipes of a child are read on blocking threads: the runtime's own process support would
//! need a tokio feature the servers have no use for.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::stage::Stage;

/// A run takes about 5 s alone; 7 of them share 2 cores with the rest of the tests.
const RUN_MAX: Duration = Duration::from_secs(180);

const MISSING: &str = "the SDK clients are not installed: run `make test` or ops/dev/clients.sh";

#[derive(Debug)]
pub(super) struct Program {
    command: Command,
}

/// What a program printed and how it ended.
#[derive(Debug)]
pub(super) struct Transcript {
    held: usize,
    failed: Vec<String>,
    stderr: String,
    exit: ExitStatus,
    in_time: bool,
}

impl Program {
    pub(super) fn node(transport: &str, format: &str) -> Self {
        let modules = local("node/node_modules");
        let mut command = Command::new("node");
        command.arg(sdk("node/main.js")).args([transport, format]).env("NODE_PATH", modules);
        Self { command }
    }

    pub(super) fn python(format: &str) -> Self {
        let mut command = Command::new(local("venv/bin/python"));
        command.arg(sdk("python/main.py")).arg(format).env("PYTHONDONTWRITEBYTECODE", "1");
        Self { command }
    }

    /// Only these of its themes.
    pub(super) fn themes(mut self, themes: &[&str]) -> Self {
        self.command.args(themes);
        self
    }

    /// Runs the program to its end, answering its questions on `stage`, and gives the stage back.
    pub(super) async fn run(mut self, stage: Stage) -> (Transcript, Stage) {
        if let Some(certificate) = stage.certificate() {
            // Where Node and Python look for certificates to trust.
            self.command.env("NODE_EXTRA_CA_CERTS", certificate).env("SSL_CERT_FILE", certificate);
        }
        let mut child = self
            .command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{MISSING} ({error})"));
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let errors = spawn_blocking(move || {
            let mut text = String::new();
            stderr.read_to_string(&mut text).map(|_| text)
        });
        let mut talk = spawn_blocking(move || (converse(&stage, stdin, stdout), stage));

        let ended = timeout(RUN_MAX, &mut talk).await;
        let in_time = ended.is_ok();
        let talked = match ended {
            Ok(talked) => talked,
            Err(_) => {
                child.kill().expect("our child can be killed");
                talk.await
            }
        };
        let ((held, failed), stage) = talked.expect("the conversation does not panic");
        let exit = wait(child).await;
        let stderr = errors.await.expect("stderr is read").expect("stderr is text");
        (Transcript { held, failed, stderr, exit, in_time }, stage)
    }
}

async fn wait(mut child: Child) -> ExitStatus {
    spawn_blocking(move || child.wait())
        .await
        .expect("waiting does not panic")
        .expect("our child can be waited for")
}

/// Reads the program's lines until it closes its output: how many checks held, and which not.
fn converse(stage: &Stage, mut stdin: ChildStdin, stdout: ChildStdout) -> (usize, Vec<String>) {
    let (mut held, mut failed) = (0, Vec::new());
    let runtime = tokio::runtime::Handle::current();
    say(&mut stdin, &stage.addresses());
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("the program writes text");
        if let Some(question) = line.strip_prefix("ASK ") {
            let question: Value = serde_json::from_str(question).expect("a question is JSON");
            let id = question["id"].clone();
            let reply = match runtime.block_on(stage.act(question)) {
                Ok(result) => json!({"id": id, "result": result}),
                Err(why) => json!({"id": id, "error": why}),
            };
            say(&mut stdin, &reply);
        } else if line.starts_with("ok ") {
            held += 1;
        } else {
            failed.push(line);
        }
    }
    (held, failed)
}

/// A program that ended early shows in its exit status, so a closed pipe is no failure here.
fn say(stdin: &mut ChildStdin, value: &Value) {
    let line = format!("{value}\n");
    if let Err(error) = stdin.write_all(line.as_bytes()) {
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "writing to the program");
    }
}

fn sdk(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(path)
}

/// A path below `.local/`, where ops/dev/clients.sh installs.
fn local(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.local").join(path);
    assert!(path.exists(), "{MISSING} ({} is missing)", path.display());
    path
}

impl Transcript {
    pub(super) fn assert_all_held(&self) {
        let good = self.in_time && self.failed.is_empty() && self.held > 0 && self.exit.success();
        assert!(
            good,
            "{} checks held, {} did not (in time: {}, {}):\n{}\n{}",
            self.held,
            self.failed.len(),
            self.in_time,
            self.exit,
            self.failed.join("\n"),
            self.stderr,
        );
    }
}
