//! What goes over HTTP, measured on this program: every request is answered and replied to.

use std::time::Duration;

use loadtest::check::options::{RedisKind, StoreKind};
use loadtest::load::report::Report;
use loadtest::load::scenario::rest::{Options, run};
use loadtest::load::target::{Door, Target, Wanted};

#[tokio::test]
async fn every_request_is_answered_and_replied_to_and_the_report_says_what_it_took() {
    let wanted = Wanted {
        server: env!("CARGO_BIN_EXE_chat-server").into(),
        nodes: 1,
        store: StoreKind::Sqlite,
        bus: RedisKind::None,
        door: Door::Plain,
        log: "warn".to_owned(),
        variables: Vec::new(),
    };
    let target = Target::start(&wanted).await.unwrap();
    let options = Options {
        clients: 20,
        rate: 200.0,
        warm: Duration::from_millis(500),
        measure: Duration::from_secs(2),
        ..Options::default()
    };
    let mut told = 0;
    let outcome = run(&target, options, &mut |_| told += 1).await.unwrap();
    let tally = &outcome.tally;
    assert_eq!(tally.faults(), [""; 0], "{:?}", tally.complaints);
    assert_eq!((tally.connections.entered, tally.published.sent), (20, 500));
    assert_eq!((tally.received.expected, tally.received.delivered), (500, 500));
    assert_eq!((tally.window.sent, tally.latency.count()), (400, 400));
    // Each publication is heard by the one client of its channel.
    assert!(outcome.figures["publications_pushed_count"] >= 290.0, "{:?}", outcome.figures);
    assert!(outcome.server.cpu_seconds > 0.0 && outcome.server.rss_idle > 0);
    assert!(told >= 2, "once a second");
    let report = Report::new(vec![outcome], Vec::new());
    let kept = Report::of_json(&report.to_json().unwrap()).unwrap();
    assert_eq!(kept.outcomes[0].tally, report.outcomes[0].tally);
}
