//! A set of metrics from its declaration to the text of a scrape.

use metrics::{Counter, Gauge, Histogram};

use super::metric::{Family, Raised};
use super::*;
use crate::{metric_label, metric_set};

metric_label! {
    enum Kind: "kind" {
        Small = "small",
        Large = "large",
    }
}

metric_set! {
    #[derive(Debug)]
    struct Set {
        /// Things that happened,
        /// told in two lines.
        things: Family<Kind, Counter> = "things_total",
        /// Things that are.
        level: Gauge = "level",
        /// How long a thing takes.
        seconds: Histogram = "thing_seconds",
    }
}

fn handles() -> Handles {
    let config = Config {
        service: "test".to_owned(),
        version: "1.2.3".to_owned(),
        memory_limit_bytes: 1 << 30,
        log_filter: "off".to_owned(),
        log_format: logs::Format::Json,
    };
    let buckets = [Buckets { metric: "thing_seconds", bounds: &[0.5, 1.0] }];
    Handles::detached(&config, &buckets).unwrap()
}

#[test]
fn every_series_stands_at_zero_from_the_first_scrape_on() {
    let handles = handles();
    let _set = handles.register(Set::register);
    let text = handles.render();
    for line in [
        "# HELP things_total Things that happened, told in two lines.",
        "things_total{kind=\"small\"} 0",
        "things_total{kind=\"large\"} 0",
        "level 0",
        "# TYPE thing_seconds histogram",
        "thing_seconds_bucket{le=\"0.5\"} 0",
        "thing_seconds_bucket{le=\"+Inf\"} 0",
        "build_info{service=\"test\",version=\"1.2.3\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
    }
    assert!(text.contains("memory_usage_percent ") && text.contains("cpu_usage_percent "));
}

#[test]
fn what_is_counted_shows_in_the_servers_own_scrape_alone() {
    let (one, other) = (handles(), handles());
    let set = one.register(Set::register);
    let _other_set = other.register(Set::register);
    set.things.of(Kind::Large).increment(2);
    set.seconds.record(0.7);
    let text = one.render();
    assert!(text.contains("things_total{kind=\"large\"} 2"), "{text}");
    assert!(text.contains("thing_seconds_bucket{le=\"1\"} 1"), "{text}");
    assert!(other.render().contains("things_total{kind=\"large\"} 0"));
}

#[test]
fn a_raised_gauge_falls_when_its_guard_is_dropped() {
    let handles = handles();
    let set = handles.register(Set::register);
    let guards = [Raised::by_one(&set.level), Raised::by_one(&set.level)];
    assert!(handles.render().contains("\nlevel 2\n"));
    drop(guards);
    assert!(handles.render().contains("\nlevel 0\n"));
}

#[tokio::test(start_paused = true)]
async fn the_upkeep_ends_with_its_token() {
    let stop = CancellationToken::new();
    let running = handles().run(stop.clone());
    let (_, ()) = tokio::join!(running, async {
        tokio::time::sleep(Duration::from_secs(12)).await;
        stop.cancel();
    });
}
