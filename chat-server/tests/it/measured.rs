//! What a load test starts to measure: this program, as many times as asked, with its store and bus.

use std::fs;
use std::time::Duration;

use chassis::testing::deadline;
use loadtest::check::options::{RedisKind, StoreKind};
use loadtest::load::crew::Hire;
use loadtest::load::plan::Load;
use loadtest::load::scenario::gathering::{Gathering, Keep};
use loadtest::load::scenario::storm::{By, Storm};
use loadtest::load::target::{Consent, Door, Named, Processes, Target, Wanted};

fn wanted(nodes: usize, store: StoreKind, bus: RedisKind, door: Door) -> Wanted {
    Wanted {
        server: env!("CARGO_BIN_EXE_chat-server").into(),
        nodes,
        store,
        bus,
        door,
        log: "warn".to_owned(),
        variables: Vec::new(),
    }
}

/// Whether one of them runs: one that has ended and that nobody has asked about has no arguments.
fn run(processes: &Processes) -> bool {
    let mut all = processes.servers.iter().chain(&processes.services);
    all.any(|id| fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty()))
}

#[tokio::test]
async fn two_nodes_over_tls_are_ready_with_their_rooms_and_go_with_the_value() {
    let wanted = wanted(2, StoreKind::Postgres, RedisKind::Single, Door::Tls);
    let target = Target::start(&wanted).await.unwrap();
    let processes = target.processes();
    assert_eq!((processes.servers.len(), processes.services.len()), (2, 2));
    assert_eq!(target.doors.len(), 2);
    let rooms = target.make_rooms(["ann", "bob"].map(str::to_owned).into_iter()).await.unwrap();
    assert!(rooms.iter().all(|room| room.starts_with("room:")) && rooms[0] != rooms[1]);
    let queries = target.figure("store_queries_total").await.unwrap().unwrap();
    assert!(queries["kind=\"change\""] >= 2.0, "{queries:?}");
    assert_eq!(target.complaints(), [""; 0]);
    assert!(run(&processes));
    drop(target);
    assert!(!run(&processes), "{processes:?}");
}

#[tokio::test]
async fn a_node_that_was_killed_is_another_process_when_it_is_ready_again() {
    let wanted = wanted(1, StoreKind::Sqlite, RedisKind::None, Door::Plain);
    let target = Target::start(&wanted).await.unwrap();
    let node = target.nodes().next().unwrap();
    let (address, before) = (node.address(), target.processes());
    node.kill();
    assert_eq!(target.processes().servers, [0; 0]);
    node.start().await.unwrap();
    target.until_ready(0).await.unwrap();
    assert_eq!(target.nodes().next().unwrap().address(), address);
    assert_ne!(target.processes(), before);
    // Whoever names it is led to the same.
    let named = Named {
        url: format!("ws://localhost:{}", address.port()),
        consent: Consent::Loopback,
        authority: None,
        secret: None,
        servers: target.processes().servers,
    };
    let found = deadline(Target::find(&named)).await.unwrap();
    assert_eq!(found.processes().servers, target.processes().servers);
    assert!(found.make_rooms(["ann".to_owned()].into_iter()).await.is_err(), "without a secret");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_cut_off_by_a_kill_comes_back_and_has_everything_once() {
    let wanted = wanted(1, StoreKind::Postgres, RedisKind::None, Door::Plain);
    let target = Target::start(&wanted).await.unwrap();
    let within = Duration::from_secs(2);
    let gathering = Gathering {
        rooms: 10,
        members: 20,
        keep: Keep::All,
        load: Load::Rate(50.0),
        warm: Duration::ZERO,
        measure: Storm::length(within),
        drain: Duration::from_secs(20),
        ..Gathering::default()
    };
    let storm = Storm { gathering, by: By::Kill, within, hire: Hire::Thread };
    let (outcome, faults) = Box::pin(storm.run(&target, &mut |_| {})).await.unwrap();
    assert_eq!((faults, outcome.tally.faults()), (vec![], vec![]), "{:?}", outcome.tally);
    assert_eq!((outcome.tally.connections.returned, outcome.tally.connections.ended), (200, 0));
    let received = outcome.tally.received;
    assert!(received.recovered > 0 && received.delivered == received.expected, "{received:?}");
    // Those who spoke were cut off too, and what they had said without an answer was not lost.
    assert_eq!(outcome.tally.published.accepted, outcome.tally.published.sent);
    assert!(outcome.figures["storm_seconds_until_last"] > 0.0, "{:?}", outcome.figures);
    assert!(outcome.figures["storm_server_away_seconds"] > 0.0, "{:?}", outcome.figures);
}
