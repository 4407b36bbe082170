//! Three nodes of this program under every kind of fault, once each, small enough for every change.
//!
//! `make soak` plays the same at full size and with many seeds. The seed is fixed, so that what
//! failed once fails again; `SOAK_SEED` takes another one. How the faults fall into the traffic is
//! up to the machine all the same.

use std::time::Duration;

use loadtest::check::Options;
use loadtest::check::voice::Voice;

/// Chosen once, for nothing.
const SEED: u64 = 1;

/// About a minute and a half, most of it the faults themselves.
fn small() -> Options {
    Options {
        clients: 60,
        rooms: 6,
        plain: 2,
        messages: 3_000,
        rounds: 1,
        time_max: Duration::from_secs(150),
        ..Options::full(env!("CARGO_BIN_EXE_chat-server").into(), seed())
    }
}

fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a failed run is tried again by hand")]
    let given = std::env::var("SOAK_SEED");
    given.map_or(SEED, |seed| seed.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_keep_their_word_whatever_dies() {
    let options = small();
    let report = Box::pin(loadtest::check::run(&options, Voice::new())).await.unwrap();
    let wrong = report.wrong();
    assert!(
        wrong.is_empty(),
        "seed {}, {} times:\n{}",
        options.seed,
        wrong.len(),
        wrong.join("\n")
    );
    // What was to be shown was there to be seen.
    assert_eq!(report.happened.len(), options.faults.len());
    assert!(report.counts["recoveries"] >= options.clients, "{:?}", report.counts);
    assert!(report.counts["repeats that were there already"] > 0, "{:?}", report.counts);
}
