//! From counting to the text of a scrape.

use chassis::config::Source;
use chassis::telemetry::Handles;

use super::*;
use crate::config::Config;

fn server() -> (Handles, Metrics) {
    let config = Config::from_source(&Source::from_pairs([("VERSION", "1.0.0")])).unwrap();
    let handles = Handles::detached(&config.telemetry, BUCKETS).unwrap();
    let metrics = handles.register(Metrics::register);
    (handles, metrics)
}

fn assert_line(handles: &Handles, line: &str) {
    let text = handles.render();
    assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
}

#[test]
fn every_name_of_the_guide_is_there_before_anything_happened() {
    let (handles, _metrics) = server();
    for line in [
        "websocket_connections_active 0",
        "active_users 0",
        "active_users_total 0",
        "message_delivery_success_rate 1",
        "chat_messages_total 0",
        "chat_connections_active{transport=\"http_stream\"} 0",
        "chat_outbound_shed_total{kind=\"lag\"} 0",
        "chat_disconnects_total{code=\"3008\"} 0",
        "chat_disconnects_total{code=\"client\"} 0",
        "chat_commands_total{method=\"sub_refresh\"} 0",
        "chat_message_delivery_seconds_bucket{le=\"0.01\"} 0",
        "chat_message_delivery_seconds_count 0",
    ] {
        assert_line(&handles, line);
    }
}

#[test]
fn connections_count_while_they_live() {
    let (handles, metrics) = server();
    let metrics = Arc::new(metrics);
    let websocket = metrics.connected(Transport::Websocket);
    let sse = metrics.connected(Transport::Sse);
    assert_line(&handles, "websocket_connections_active 1");
    assert_line(&handles, "chat_connections_active{transport=\"sse\"} 1");
    drop((websocket, sse));
    assert_line(&handles, "websocket_connections_active 0");
    assert_line(&handles, "chat_connections_active{transport=\"sse\"} 0");
}

#[test]
fn users_are_told_under_both_names_up_and_down() {
    let (handles, metrics) = server();
    for users in [3, 1] {
        metrics.set_active_users(users);
        assert_line(&handles, &format!("active_users {users}"));
        assert_line(&handles, &format!("active_users_total {users}"));
    }
}

#[test]
fn the_delivery_rate_falls_with_what_is_lost_and_recovers() {
    let (handles, metrics) = server();
    let start = Instant::now();
    metrics.deliveries_due(4);
    metrics.deliveries_done(3);
    metrics.refresh(start);
    assert_line(&handles, "message_delivery_success_rate 0.75");
    assert_line(&handles, "chat_deliveries_due_total 4");
    assert_line(&handles, "chat_deliveries_total 3");
    for step in 1..=70 {
        metrics.refresh(start + Duration::from_secs(step * 5));
    }
    assert_line(&handles, "message_delivery_success_rate 1");
}

#[test]
fn a_close_code_nobody_knows_is_counted_as_other() {
    let (handles, metrics) = server();
    for ending in [Ending::code(3008), Ending::code(3456), Ending::CLIENT] {
        metrics.disconnected(ending);
    }
    for code in ["3008", "other", "client"] {
        assert_line(&handles, &format!("chat_disconnects_total{{code=\"{code}\"}} 1"));
    }
}

#[tokio::test(start_paused = true)]
async fn the_refresh_ends_with_its_token() {
    let (handles, metrics) = server();
    let stop = CancellationToken::new();
    metrics.deliveries_due(2);
    metrics.deliveries_done(1);
    let ((), ()) = tokio::join!(metrics.run(stop.clone()), async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        stop.cancel();
    });
    assert_line(&handles, "message_delivery_success_rate 0.5");
}
