//! Nodes know of each other, and notice when they do not fit together.

use serde_json::Value;

use crate::harness::{Backend, Stage, eventually, http};

async fn nodes(stage: &Stage) -> Value {
    let ready = http::get(stage.addresses.http, "/health/ready", &[]).await;
    let ready: Value = serde_json::from_str(&ready.body).unwrap();
    let reasons = ready["reasons"].as_array().unwrap().iter();
    reasons.filter(|reason| reason["check"] == "nodes").cloned().collect()
}

fn metric(stage: &Stage, name: &str) -> f64 {
    let text = stage.telemetry.render();
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name} in\n{text}")).parse().unwrap()
}

#[tokio::test]
async fn nodes_that_fit_together_find_each_other_and_nothing_to_complain_of() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = first.twin().await;
    for stage in [&first, &second] {
        eventually("two nodes live", async || metric(stage, "nodes_alive") == 2.0).await;
        assert_eq!(metric(stage, "nodes_disagree"), 0.0);
        assert_eq!(nodes(stage).await, Value::Array(Vec::new()));
    }
    second.stop().await;
    eventually("one is left", async || metric(&first, "nodes_alive") == 1.0).await;
}

#[tokio::test]
async fn nodes_that_disagree_on_a_secret_both_say_which_one_and_nothing_else() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = first
        .twin_with(|config| {
            config.auth.secret = "another secret than the first node has".into();
            config.encryption_key = Some("0123456789abcdef0123456789abcdef".into());
        })
        .await;
    for stage in [&first, &second] {
        eventually("it is noticed", async || metric(stage, "nodes_disagree") == 2.0).await;
        let said = nodes(stage).await;
        assert_eq!(said[0]["status"], "degraded");
        assert_eq!(said[0]["reason"], "nodes disagree on ENCRYPTION_KEY, JWT_SECRET");
    }
    second.stop().await;
    eventually("it is over", async || metric(&first, "nodes_disagree") == 0.0).await;
    assert_eq!(nodes(&first).await, Value::Array(Vec::new()));
}

#[tokio::test]
async fn a_node_whose_clock_is_wrong_says_so_and_the_others_do_not() {
    let first = Stage::node(Backend::Sqlite, &[]).await;
    let second = first
        .twin_with(|config| {
            let nodes = config.nodes.as_mut().unwrap();
            nodes.clock = || chat_server::command::unix_millis() - 60_000;
        })
        .await;
    eventually("its clock is looked at", async || metric(&second, "nodes_alive") == 2.0).await;
    let skew = metric(&second, "clock_skew_seconds");
    assert!((-60.5..-59.5).contains(&skew), "{skew}");
    let reason = nodes(&second).await[0]["reason"].as_str().unwrap().to_owned();
    let is_named = [" -59", " -60"].iter().any(|seconds| reason.contains(seconds));
    assert!(reason.contains("clock") && is_named, "{reason}");
    // Tokens are judged by each node's own clock: a wrong one takes nothing from the others.
    assert!(metric(&first, "clock_skew_seconds").abs() < 0.5);
    assert_eq!(nodes(&first).await, Value::Array(Vec::new()));
}
