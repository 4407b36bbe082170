#!/usr/bin/env bash
# What is published in docs/PERFORMANCE.md, measured here and now: a version of about ten minutes,
# release builds, one scenario after the other. Reports, tables and plots are in target/bench/; it
# ends with target, figure and verdict, and with an error when a run could not be made or something
# was lost. BENCH_ONLY="fanout rest" runs these parts alone and keeps the reports of the others.
#
# The figures of the full size, as hours on a machine with nothing else to do, are made with the
# same commands and larger numbers: docs/PERFORMANCE.md has them.
set -euo pipefail
cd "$(dirname "$0")/../.."

services=$(ops/dev/services.sh)
eval "$services"
ulimit -n "$(ulimit -H -n)"
# Absent peers leave blanks in the comparison and targets that are not measured.
ops/dev/peers.sh || echo "bench: not all peers are there" >&2

# One after the other: the server without what only the load tester needs of its crates.
cargo build --release --locked --package chat-server --bin chat-server
cargo build --release --locked --package loadtest --bin loadtest
# Compiled before anything is measured.
cargo bench --no-run --locked --package chat-server --bench group_commit --bench stalled_peers

reports=$PWD/target/bench
loadtest=$PWD/target/release/loadtest
mkdir -p "$reports"
failed=()

# Runs a part under a bound of five minutes, which no part comes near.
part() {
    local name=$1
    shift
    if [ -n "${BENCH_ONLY:-}" ] && [[ " $BENCH_ONLY " != *" ${name%%-*} "* ]]; then return; fi
    echo
    echo "== $name"
    rm -f "$reports/$name".* "$reports/$name"-*.svg
    timeout --kill-after=30 300 "$@" || failed+=("$name")
}

# A scenario: its name and what it is called here, then its arguments.
scenario() {
    part "$2" "$loadtest" "$1" --report "$reports/$2.json" "${@:3}"
}

# Targets 1 to 3: against the raw loop and the peers, in one run.
scenario compare compare --quick
# Target 3: 50,000 durable and 100,000 ephemeral deliveries a second in rooms of 100.
scenario fanout fanout-durable --rooms 100 --members 100 --rate 500 --durable --seconds 30
scenario fanout fanout-plain --rooms 100 --members 100 --rate 1000 --seconds 20
scenario fanout fanout-tls --rooms 100 --members 100 --rate 500 --tls --seconds 15
# As much as goes.
scenario saturate saturate --rooms 10 --members 100 --per-room 16 --seconds 15
# Target 4: memory of idle connections, from few to as many as a process may have here.
for connections in 5000 10000 15000; do
    scenario connect "connect-$connections" --connections "$connections" --seconds 30
done
part stalled_peers cargo bench --locked --package chat-server --bench stalled_peers -- \
    --report "$reports/stalled_peers.json"
# Target 5, small: three nodes on one PostgreSQL and one Redis.
scenario cluster cluster --nodes 3 --connections 12000 --rate 300 --seconds 30
# Target 6.
part group_commit cargo bench --locked --package chat-server --bench group_commit -- \
    --quick --report "$reports/group_commit.json"
# Target 7.
scenario rest rest --rate 10000 --seconds 20
# Target 8.
scenario storm storm --connections 15000 --within 10

echo
echo "== $((SECONDS / 60)) minutes"
"$loadtest" verdict "$reports" --markdown "$reports/verdict.md" || failed+=(verdict)
if [ ${#failed[@]} -gt 0 ]; then
    echo "bench: not as it should be: ${failed[*]}" >&2
    exit 1
fi
