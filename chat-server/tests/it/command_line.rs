//! The program itself: its exit codes, what it prints where, and how signals end it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use chassis::testing::free_port;
use chat_server::config::TABLE;
use tempfile::TempDir;

const SECRET: &str = "q8Zr2Xw0Lk4Vn6Bt1Ys9Hd3Gf7Jc5Mp0Ae";

/// How often a starting server is asked; each time starts a process and takes milliseconds.
const ATTEMPTS_MAX: u32 = 1000;

/// The program with nothing in its environment but these variables, in a folder of its own.
fn program(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chat-server"));
    command.current_dir(folder).args(arguments).env_clear();
    command.envs(variables.iter().copied()).stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    program(folder.path(), arguments, variables).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A server that serves, as a process.
struct Serving {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl Serving {
    /// Starts it and waits until `health` says that it is ready.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let number = port.to_string();
        let variables = [
            ("JWT_SECRET", SECRET),
            ("PORT", number.as_str()),
            ("WS_PORT", "0"),
            ("PROMETHEUS_PORT", "0"),
            ("SHUTDOWN_GRACE_MS", "60000"),
            ("SHUTDOWN_SPREAD_MS", "60000"),
        ];
        let mut serve = program(folder.path(), &[], &variables);
        let child = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut serving = Self { child, port, _folder: folder };
        let ready = (0..ATTEMPTS_MAX).any(|_| {
            assert!(serving.child.try_wait().unwrap().is_none(), "it ended before it was ready");
            run(&["health"], &variables).status.success()
        });
        assert!(ready, "it did not become ready");
        serving
    }

    /// A client that is connected and stays.
    fn connected(&self) -> TcpStream {
        let mut client = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let body = "{\"id\":1,\"connect\":{}}";
        let length = body.len();
        write!(
            client,
            "POST /connection/http_stream HTTP/1.1\r\nhost: localhost\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = Vec::new();
        while !text(&answer).contains("\"connect\"") {
            let mut part = [0; 1024];
            let read = client.read(&mut part).unwrap();
            assert!(read > 0, "refused: {}", text(&answer));
            answer.extend_from_slice(&part[..read]);
        }
        client
    }

    /// Sends the signals, one right after the other.
    fn signal(&self, names: &[&str]) {
        let id = self.child.id();
        let kill: Vec<_> = names.iter().map(|name| format!("kill -s {name} {id}")).collect();
        let sent = Command::new("sh").args(["-ec", &kill.join("\n")]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It has usually ended already; then there is nothing to kill.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn every_variable_with_a_bad_value_ends_the_program_with_64_and_is_named() {
    for var in TABLE.iter().flat_map(|section| section.variables) {
        let bad = var.kind.bad_examples().remove(0);
        let mut variables = vec![("JWT_SECRET", SECRET)];
        variables.retain(|(name, _)| *name != var.name);
        variables.push((var.name, &bad));
        let output = run(&[], &variables);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{} = {bad:?}: {complaint}", var.name);
        assert!(complaint.contains(&format!("\n{}: got ", var.name)), "{complaint}");
        assert!(complaint.contains(", takes "), "{complaint}");
        assert!(!var.secret || !complaint.contains(&bad), "{complaint}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn production_without_secrets_names_all_that_is_missing() {
    let output = run(&[], &[("ENVIRONMENT", "production")]);
    assert_eq!(output.status.code(), Some(64));
    for name in ["JWT_SECRET: is not set", "TLS_CERT_FILE: is not set"] {
        assert!(text(&output.stderr).contains(name), "{}", text(&output.stderr));
    }
}

#[test]
fn token_prints_a_token_and_nothing_else() {
    let output = run(&["token", "--user", "ann"], &[]);
    let token = text(&output.stdout).strip_suffix('\n').unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert_eq!(token.split('.').count(), 3, "{token}");
    assert!(!token.contains(char::is_whitespace));
}

#[test]
fn two_programs_in_one_folder_sign_with_the_same_generated_secret() {
    let folder = tempfile::tempdir().unwrap();
    let secret = || {
        let output = program(folder.path(), &["token", "--user", "ann"], &[]).output().unwrap();
        assert!(output.status.success());
        std::fs::read(folder.path().join("data/jwt_secret")).unwrap()
    };
    assert_eq!(secret(), secret());
}

#[test]
fn unknown_arguments_end_with_64_and_help_with_0() {
    assert_eq!(run(&["sevre"], &[]).status.code(), Some(64));
    let help = run(&["--help"], &[]);
    assert!(help.status.success() && text(&help.stdout).contains("Examples:"));
    assert!(text(&run(&["--version"], &[]).stdout).starts_with("chat-server "));
}

#[test]
fn check_passes_on_free_ports_and_fails_on_a_port_that_is_taken() {
    let free = [("PORT", "0"), ("WS_PORT", "0"), ("PROMETHEUS_PORT", "0")];
    let output = run(&["check"], &free);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["check"], &[("PORT", "0"), ("WS_PORT", &port), ("PROMETHEUS_PORT", "0")]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("FAIL  port"), "{}", text(&output.stdout));
}

/// What a start says that ends with 1.
fn complaint(variables: &[(&str, &str)]) -> String {
    let ports = [("PORT", "0"), ("WS_PORT", "0"), ("PROMETHEUS_PORT", "0"), ("LOG_LEVEL", "off")];
    let output = run(&[], &[&ports[..], variables].concat());
    let complaint = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    complaint.trim_end().to_owned()
}

#[test]
fn a_store_that_cannot_be_opened_ends_with_1_and_one_line() {
    let port = free_port();
    let url = format!("postgres://veza:hunter2@127.0.0.1:{port}/veza");
    let away = complaint(&[("DATABASE_URL", &url)]);
    let place = format!("chat-server: DATABASE_URL: PostgreSQL 127.0.0.1:{port}/veza: ");
    assert!(away.starts_with(&place) && away.contains("refused"), "{away}");
    assert!(!away.contains("hunter2"), "{away}");
    let none = complaint(&[("DATABASE_URL", "sqlite:/proc/nowhere/rooms.db")]);
    assert!(none.starts_with("chat-server: SQLite /proc/nowhere/rooms.db: "), "{none}");
}

#[test]
fn health_fails_where_nobody_listens() {
    let port = free_port().to_string();
    let output = run(&["health"], &[("PORT", &port)]);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_signal_ends_an_idle_server_with_0() {
    let mut serving = Serving::start();
    serving.signal(&["TERM"]);
    assert_eq!(serving.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_ends_a_draining_server_at_once() {
    let mut serving = Serving::start();
    // Goodbyes are spread: telling this many takes far longer than it takes to signal twice.
    let _clients = [(); 64].map(|()| serving.connected());
    serving.signal(&["TERM", "INT"]);
    // Which of the two counts as the second is the system's choice.
    let code = serving.child.wait().unwrap().code();
    assert!(matches!(code, Some(130 | 143)), "{code:?}");
}
