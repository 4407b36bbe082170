use std::fs::File;
use std::hint::black_box;
use std::process::{Command, Stdio};

use super::*;

/// A CPU time that no test's other work comes near by chance.
const WORK: Duration = Duration::from_millis(60);

fn work(until: Duration) {
    let me = std::process::id();
    let end = cpu(me).unwrap() + until;
    while cpu(me).unwrap() < end {
        black_box((0..10_000u64).fold(0, |sum, one| sum ^ black_box(one)));
    }
}

#[test]
fn what_this_process_uses_is_seen() {
    let me = std::process::id();
    let meter = Meter { workers: vec![me], ..Meter::default() };
    let before = meter.read().unwrap();
    let held: Vec<File> = (0..100).map(|_| File::open("/proc/self/status").unwrap()).collect();
    let filled = black_box(vec![1u8; 64 << 20]);
    work(WORK);
    let after = meter.read().unwrap();
    let spent = after.since(&before);
    assert!(spent.workers >= WORK, "{spent:?}");
    assert!(spent.wall > Duration::ZERO);
    assert_eq!(spent.servers, Duration::ZERO);
    // Other tests of this process open and close files and free memory meanwhile.
    assert!(after.workers.files >= held.len() as u64, "{after:?}");
    assert!(after.workers.anonymous_bytes >= filled.len() as u64, "{after:?}");
    assert!(after.workers.resident_bytes >= after.workers.anonymous_bytes, "{after:?}");
    assert!(after.workers.threads >= 1);
}

#[test]
fn threads_that_have_ended_still_count() {
    let me = std::process::id();
    let before = cpu(me).unwrap();
    std::thread::spawn(|| work(WORK)).join().unwrap();
    assert!(cpu(me).unwrap() - before >= WORK);
}

#[test]
fn a_tree_has_what_its_children_use_and_used() {
    let shell = |script: &str| {
        Command::new("sh").arg("-c").arg(script).stdin(Stdio::piped()).spawn().unwrap()
    };
    // One child that ended after a while of work, one that is there; `read` waits for this test.
    let mut parent = shell(
        "sh -c 'i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done'; sleep 60 & read x; kill $!",
    );
    let pid = parent.id();
    let deadline = Instant::now() + Duration::from_secs(20);
    while Usage::of_tree(pid).unwrap().threads < 2 || ended_children(pid).is_zero() {
        assert!(Instant::now() < deadline, "the child never ended, or the other never began");
        std::thread::yield_now();
    }
    let (alone, tree) = (Usage::of(pid).unwrap(), Usage::of_tree(pid).unwrap());
    drop(parent.stdin.take());
    parent.wait().unwrap();
    assert!(tree.cpu > alone.cpu, "{tree:?} {alone:?}");
    assert!(tree.resident_bytes > alone.resident_bytes, "{tree:?} {alone:?}");
}

#[test]
fn a_process_that_is_gone_is_named() {
    let mut child = Command::new("true").spawn().unwrap();
    let pid = child.id();
    child.wait().unwrap();
    let meter = Meter { servers: vec![pid], ..Meter::default() };
    let error = meter.read().unwrap_err();
    assert_eq!(error.to_string(), format!("process {pid} is not there to be measured"));
}

#[test]
fn what_others_took_is_what_is_left_of_the_machine() {
    let at = Instant::now();
    let usage = |millis| Usage { cpu: Duration::from_millis(millis), ..Usage::default() };
    let reading = |at, times: [u64; 6]| Reading {
        at,
        servers: usage(times[0]),
        workers: usage(times[1]),
        services: usage(times[2]),
        host: Host {
            busy: Duration::from_millis(times[3]),
            stolen: Duration::from_millis(times[4]),
            idle: Duration::from_millis(times[5]),
            tcp_bytes: 0,
        },
    };
    let second = Duration::from_secs(1);
    let before = reading(at, [100, 100, 100, 5000, 40, 7000]);
    let after = reading(at + second, [900, 500, 200, 6500, 140, 7400]);
    let spent = after.since(&before);
    assert_eq!(spent.others, Duration::from_millis(200));
    assert_eq!(spent.stolen, Duration::from_millis(100));
    assert!((spent.cores(spent.servers) - 0.8).abs() < 1e-9);
    // 0.2 s of others and 0.1 s stolen, of two seconds on two cores.
    assert!((spent.taken_by_others() - 0.15).abs() < 1e-9, "{}", spent.taken_by_others());
}

#[test]
fn the_machine_has_been_busy_and_idle() {
    let host = Host::read().unwrap();
    assert!(host.busy > Duration::ZERO && host.idle > Duration::ZERO);
    assert!(proportional_bytes(std::process::id()).unwrap() > 1 << 20);
}
