//! What a load test starts to measure: this program, as many times as asked, with its store and bus.

use std::fs;

use chassis::testing::deadline;
use loadtest::check::options::{RedisKind, StoreKind};
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
