#!/usr/bin/env bash
# Everything a change must pass, on a machine with Rust, build-essential and apt:
# installs or starts what the tests need, then lints, builds the documentation and tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Assigned first, for a failure inside of eval's own substitution would pass unnoticed.
services=$(ops/dev/services.sh)
eval "$services"
ops/dev/clients.sh
ops/dev/lint.sh
cargo test --workspace --locked --doc --quiet
# What one server does with channels without a log, once more with Redis between it and itself.
again=(channels:: history:: presence:: namespaces:: server_side:: emulation:: expiry:: slow_clients::)
if command -v cargo-nextest >/dev/null; then
    cargo nextest run --workspace --locked
    TEST_BUS=redis cargo nextest run --package chat-server --test it --locked "${again[@]}"
else
    cargo test --workspace --locked --lib --bins --tests
    TEST_BUS=redis cargo test --package chat-server --test it --locked -- "${again[@]}"
fi
