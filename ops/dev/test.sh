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
if command -v cargo-nextest >/dev/null; then
    cargo nextest run --workspace --locked
else
    cargo test --workspace --locked --lib --bins --tests
fi
