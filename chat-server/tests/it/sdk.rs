//! The unmodified public SDKs as clients of a real server.
//!
//! The checks are the SDK's own programs in `tests/sdk/`: each connects over its transport in its
//! format, prints a line per check, and asks this side for what only a server can do. Every test
//! here is one program against one server of its own; a failure lists the checks that failed.
//! The SDKs come from `ops/dev/clients.sh`; without them the tests fail and say so.

mod outage;
mod program;
mod spread;
mod stage;

use self::program::Program;
use self::stage::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_websocket_json() {
    run(Program::node("websocket", "json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_websocket_protobuf() {
    run(Program::node("websocket", "protobuf")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_sse() {
    run(Program::node("sse", "json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_http_stream_json() {
    run(Program::node("http_stream", "json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_http_stream_protobuf() {
    run(Program::node("http_stream", "protobuf")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_client_over_websocket_json() {
    run(Program::python("json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_client_over_websocket_protobuf() {
    run(Program::python("protobuf")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_tls() {
    for transport in ["websocket", "sse", "http_stream"] {
        let program = Program::node(transport, "json").themes(&["connect", "history", "recovery"]);
        run_on(Stage::start_tls().await, program).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_sse_behind_a_balancer() {
    run_on(Stage::start_spread().await, behind_a_balancer("sse", "json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_http_stream_json_behind_a_balancer() {
    run_on(Stage::start_spread().await, behind_a_balancer("http_stream", "json")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_over_http_stream_protobuf_behind_a_balancer() {
    run_on(Stage::start_spread().await, behind_a_balancer("http_stream", "protobuf")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_client_over_tls() {
    let program = Program::python("protobuf").themes(&["connecting", "history", "recovery"]);
    run_on(Stage::start_tls().await, program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_client_while_the_store_does_not_answer() {
    let program = Program::node("websocket", "json").themes(&["outage"]);
    run_on(Stage::start_with_outages().await, program).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_client_while_the_store_does_not_answer() {
    let program = Program::python("protobuf").themes(&["outage"]);
    run_on(Stage::start_with_outages().await, program).await;
}

/// Everything but the presence of others, which those on another node know a moment later.
fn behind_a_balancer(transport: &str, format: &str) -> Program {
    Program::node(transport, format).themes(&[
        "connect",
        "channels",
        "history",
        "recovery",
        "tokens",
        "closing",
        "server_side",
        "batches",
        "loops",
        "rooms",
    ])
}

async fn run(program: Program) {
    run_on(Stage::start().await, program).await;
}

async fn run_on(stage: Stage, program: Program) {
    let (transcript, stage) = program.run(stage).await;
    transcript.assert_all_held();
    stage.stop().await;
}
