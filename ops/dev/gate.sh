#!/usr/bin/env bash
# What a message costs, in counts: fails when it is more than chat-server/benches/counts/bounds.toml
# lets through. The server is the release build; what drives it is built as tests are.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! command -v valgrind >/dev/null; then
    sudo=()
    [ "$(id -u)" = 0 ] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" apt-get install -y -qq --no-install-recommends valgrind
fi

ulimit -n "$(ulimit -H -n)"
cargo build --release --locked --package chat-server --bin chat-server
# The whole workspace, so that nothing is built anew that the tests have built.
cargo bench --workspace --profile dev --locked --bench counts -- \
    "$PWD/${CARGO_TARGET_DIR:-target}/release/chat-server"
