#!/usr/bin/env bash
# Licences, sources and bans; installs cargo-deny into .local when it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

export PATH="$PWD/.local/bin:$PATH"
command -v cargo-deny >/dev/null || cargo install cargo-deny --locked --quiet --root .local
cargo deny --workspace --all-features check bans licenses sources
