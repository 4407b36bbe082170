//! A load of this program by workers that are threads of the test: small enough for every change.
//!
//! Whatever the workers count is right only if clients, schedule and counts all are; so this says
//! that a sound server has a clean tally, in channels, in rooms and over TLS.

use std::time::Duration;

use chassis::testing::deadline;
use loadtest::check::options::{RedisKind, StoreKind};
use loadtest::load::crew::{Hire, Measurement};
use loadtest::load::plan::Load;
use loadtest::load::scenario::Outcome;
use loadtest::load::scenario::gathering::{Gathering, Keep};
use loadtest::load::target::{Door, Target, Wanted};

/// Ten rooms of twenty, and more than a hundred messages in a second; pings all the while.
fn small(keep: Keep, load: Load) -> Gathering {
    Gathering {
        rooms: 10,
        members: 20,
        keep,
        load,
        warm: Duration::ZERO,
        measure: Duration::from_secs(1),
        ..Gathering::default()
    }
}

async fn target(door: Door) -> Target {
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let wanted = Wanted {
        server: env!("CARGO_BIN_EXE_chat-server").into(),
        nodes: 1,
        store: StoreKind::Sqlite,
        bus: RedisKind::None,
        door,
        log: "warn".to_owned(),
        // Who does not answer pings is put out before the load is over.
        variables: vec![variable("PING_INTERVAL_MS", "200"), variable("PONG_TIMEOUT_MS", "150")],
    };
    deadline(Target::start(&wanted)).await.unwrap()
}

async fn measure(target: &Target, gathering: &Gathering) -> Outcome {
    let plan = gathering.plan(target).await.unwrap();
    let measurement = Measurement {
        plan,
        hire: Hire::Thread,
        servers: target.processes().servers,
        services: Vec::new(),
        settle: Duration::ZERO,
    };
    let outcome = deadline(measurement.make(&mut |_| {})).await.unwrap();
    let (faults, complaints) = (outcome.tally.faults(), &outcome.tally.complaints);
    assert_eq!(faults, [""; 0], "{complaints:?}");
    assert_eq!(target.complaints(), [""; 0]);
    assert_eq!(outcome.tally.connections.entered, 200);
    assert_eq!(outcome.tally.published.accepted, outcome.tally.published.sent);
    assert_eq!(outcome.tally.received.expected, outcome.tally.published.sent * 20);
    outcome
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_open_load_is_heard_by_everybody_in_channels_and_in_rooms() {
    let target = target(Door::Plain).await;
    for keep in [Keep::Nothing, Keep::Recent, Keep::All] {
        let outcome = measure(&target, &small(keep, Load::Rate(100.0))).await;
        assert_eq!(outcome.tally.published.sent, 100, "{keep:?}");
        assert_eq!(outcome.tally.acknowledged.count(), 100, "{keep:?}");
        assert!(outcome.server.cpu_seconds > 0.0, "{keep:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_load_goes_on_as_long_as_its_window_over_tls_too() {
    let target = target(Door::Tls).await;
    for load in [Load::Window(2), Load::Turns(3)] {
        let outcome = measure(&target, &small(Keep::Nothing, load)).await;
        // Each message waits for the one before to have come to everybody.
        assert!(outcome.tally.published.sent > 20, "{load:?}: {:?}", outcome.tally.published);
    }
}
