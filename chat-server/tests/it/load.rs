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

/// Ten rooms of twenty, for two seconds, of which the second is measured.
fn small(keep: Keep, load: Load) -> Gathering {
    Gathering {
        rooms: 10,
        members: 20,
        keep,
        load,
        warm: Duration::from_secs(1),
        measure: Duration::from_secs(1),
        ..Gathering::default()
    }
}

async fn target(door: Door, variables: &[(&str, &str)]) -> Target {
    let variable = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let wanted = Wanted {
        server: env!("CARGO_BIN_EXE_chat-server").into(),
        nodes: 1,
        store: StoreKind::Sqlite,
        bus: RedisKind::None,
        door,
        log: "warn".to_owned(),
        variables: variables.iter().map(variable).collect(),
    };
    deadline(Box::pin(Target::start(&wanted))).await.unwrap()
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
    // Everyone is pinged within a second, and who does not answer is put out within the next.
    let pings = [("PING_INTERVAL_MS", "1000"), ("PONG_TIMEOUT_MS", "900")];
    let target = target(Door::Plain, &pings).await;
    for keep in [Keep::Nothing, Keep::Recent, Keep::All] {
        let outcome = measure(&target, &small(keep, Load::Rate(100.0))).await;
        assert_eq!(outcome.tally.published.sent, 200, "{keep:?}");
        assert_eq!(outcome.tally.acknowledged.count(), 100, "{keep:?}");
        assert!(outcome.server.cpu_seconds > 0.0, "{keep:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_load_goes_on_as_long_as_its_window_over_tls_too() {
    let target = target(Door::Tls, &[]).await;
    for load in [Load::Window(2), Load::Turns(3)] {
        let outcome = measure(&target, &small(Keep::Nothing, load)).await;
        // Each message waits for the one before to have come to everybody.
        assert!(outcome.tally.published.sent > 20, "{load:?}: {:?}", outcome.tally.published);
    }
}
