//! Each check, passing and failing.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use chassis::testing::{SelfSigned, self_signed};

use super::*;

const FREE_PORTS: [(&str, &str); 4] = [
    ("PORT", "0"),
    ("WS_PORT", "0"),
    ("PROMETHEUS_PORT", "0"),
    ("JWT_SECRET", "q8Zr2Xw0Lk4Vn6Bt1Ys9Hd3Gf7Jc5Mp0Ae"),
];

fn source() -> Source {
    Source::from_pairs(FREE_PORTS)
}

fn config(pairs: &[(&str, &str)]) -> Config {
    let source = pairs.iter().fold(source(), |source, (name, value)| source.with(name, value));
    Config::from_source(&source).unwrap()
}

#[test]
fn a_machine_with_nothing_but_a_secret_passes() {
    let ended = run(&source());
    assert_eq!(ended.code, 0, "{}", ended.text);
    for subject in
        ["variables", "secret", "keys", "channels", "certificate", "store", "port", "clock"]
    {
        assert!(ended.text.contains(&format!("ok    {subject}")), "{subject} in\n{}", ended.text);
    }
}

#[test]
fn refused_settings_are_listed_and_end_with_64() {
    let ended = run(&source().with("PORT", "x").with("MAX_CONNECTIONS", "many"));
    assert_eq!(ended.code, EXIT_CODE);
    assert_eq!(ended.text.lines().filter(|line| line.starts_with("FAIL  variables")).count(), 2);
}

#[test]
fn what_this_version_does_not_use_is_told() {
    let ended = run(&source().with("SENTRY_DSN", "https://hunter2@sentry/1"));
    assert_eq!(ended.code, 0);
    assert!(ended.text.contains("warn  variables     SENTRY_DSN is set"), "{}", ended.text);
    assert!(!ended.text.contains("hunter2"));
}

#[test]
fn a_broken_channels_file_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("channels.toml");
    fs::write(&path, "[namespaces.chat]\nhistory_sice = 1\n").unwrap();
    let ended = run(&source().with("CHANNELS_FILE", path.to_str().unwrap()));
    assert_eq!(ended.code, 1);
    assert!(ended.text.contains("FAIL  channels"), "{}", ended.text);
    assert!(ended.text.contains("history_sice"), "{}", ended.text);
}

#[test]
fn a_file_that_is_no_certificate_fails() {
    let status = "/proc/self/status";
    let config = config(&[("TLS_CERT_FILE", status), ("TLS_KEY_FILE", status)]);
    assert_eq!(certificate(&config, SystemTime::now()).outcome, Outcome::Fail);
}

#[test]
fn a_certificate_warns_before_it_expires_and_fails_after() {
    let folder = tempfile::tempdir().unwrap();
    let SelfSigned { cert, key, .. } = self_signed(folder.path());
    let config = config(&[
        ("TLS_CERT_FILE", cert.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
    ]);
    let not_after = Acceptor::load(config.tls.as_ref().unwrap().into()).unwrap().not_after();
    let before = |days: u64| certificate(&config, not_after - Duration::from_secs(days * DAY));
    assert_eq!(before(30).outcome, Outcome::Ok);
    assert_eq!(before(10).outcome, Outcome::Warn);
    let after = certificate(&config, not_after + Duration::from_secs(DAY));
    assert_eq!(after, Finding::new(Outcome::Fail, "certificate", "expired 1 days ago"));
}

#[test]
fn too_few_files_fail_in_production_only() {
    let limit = OpenFiles { soft: Some(1024), hard: Some(4096) };
    assert_eq!(open_files(&config(&[]), limit).outcome, Outcome::Warn);
    let production = config(&[("ENVIRONMENT", "production"), ("TLS_TERMINATED_UPSTREAM", "true")]);
    assert_eq!(open_files(&production, limit).outcome, Outcome::Fail);
    let few = config(&[("MAX_CONNECTIONS", "3000")]);
    assert_eq!(open_files(&few, limit).outcome, Outcome::Ok);
}

#[test]
fn a_clock_that_lost_its_time_fails() {
    assert_eq!(clock(SystemTime::UNIX_EPOCH).outcome, Outcome::Fail);
    assert_eq!(clock(SystemTime::now()).outcome, Outcome::Ok);
}

#[test]
fn a_taken_port_fails_unless_this_service_answers_there() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let answers = ["{\"service\":\"somebody-else\"}", "{\"service\":\"veza-chat-server\"}"];
    let server = thread::spawn(move || {
        for body in answers {
            let (mut stream, _) = taken.accept().unwrap();
            let mut head = [0; 1024];
            assert!(stream.read(&mut head).unwrap() > 0);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
        taken
    });
    let config = config(&[("PORT", port.as_str())]);
    let outcomes = [(); 2].map(|()| ports::findings(&config)[0].outcome);
    assert_eq!(outcomes, [Outcome::Fail, Outcome::Ok]);
    server.join().unwrap();
}
