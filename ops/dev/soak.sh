#!/usr/bin/env bash
# The proof that nothing is lost, at full size and as production is built: three nodes, 900 clients,
# 100,000 messages and every kind of fault twice, for each of SOAK_SEEDS (1 2 3 4 5); then a Redis
# Cluster that loses a master, a Redis that is away for a minute, one node on a file, and a rolling
# restart under 6,000 connections. Each part is bounded in time; reports are in target/soak/.
# Ends with an error when anything was wrong, after everything was run.
set -euo pipefail
cd "$(dirname "$0")/../.."

services=$(ops/dev/services.sh)
eval "$services"
ulimit -n "$(ulimit -H -n)"

# One after the other: the server without what only the load tester needs of its crates.
cargo build --release --locked --package chat-server --bin chat-server
cargo build --release --locked --package loadtest --bin loadtest

reports=target/soak
mkdir -p "$reports"
rm -f "$reports"/*.json
failed=()

# Runs a part under a bound of 30 minutes, which no part comes near.
part() {
    local name=$1
    shift
    echo "== $name"
    timeout --kill-after=30 1800 "$@" || failed+=("$name")
}

check() {
    part "$1" target/release/loadtest check --report "$reports/$1.json" "${@:2}"
}

for seed in ${SOAK_SEEDS:-1 2 3 4 5}; do
    check "full-$seed" --seed "$seed"
done
check cluster --redis cluster --faults master --rounds 3 --messages 30000 --seed 1
check redis-away --faults redis-away=60 --rounds 1 --messages 30000 --seed 1
check one-node --nodes 1 --redis none --store sqlite --clients 300 --messages 30000 --seed 1
part rolling-restart cargo test --release --locked --package chat-server --test it \
    -- --ignored --nocapture rolling_restart

echo "== totals: $((SECONDS / 60)) minutes"
grep -h -E '"(size|good|took_s|presence_true_after_s)"' "$reports"/*.json
if [ ${#failed[@]} -gt 0 ]; then
    echo "FAILED: ${failed[*]}" >&2
    exit 1
fi
