#!/usr/bin/env bash
# Starts NODES (3) chat-servers on one PostgreSQL and one Redis until ctrl-c: what a deployment of
# several nodes looks like, on one machine. The services are those of the tests, with a database and
# a prefix of their own.
set -euo pipefail
cd "$(dirname "$0")/../.."

nodes=${NODES:-3}
services=$(ops/dev/services.sh)
eval "$services"
cargo build --bin chat-server

database=veza_nodes
psql -X -q -w "$DATABASE_URL" -tc "select 1 from pg_database where datname = '$database'" | grep -q 1 \
    || psql -X -q -w "$DATABASE_URL" -c "create database $database"
export DATABASE_URL=${DATABASE_URL%/*}/$database DATABASE_POOL_SIZE=20
export REDIS_PREFIX=nodes

started=()
stop() {
    trap - INT TERM EXIT
    [ "${#started[@]}" = 0 ] || kill -TERM "${started[@]}" 2>/dev/null || true
    wait
}
trap stop INT TERM EXIT
for node in $(seq 0 $((nodes - 1))); do
    http=$((8080 + 100 * node)) connections=$((8081 + 100 * node)) metrics=$((9090 + 100 * node))
    # Not a terminal: each writes its log as lines of JSON.
    PORT=$http WS_PORT=$connections PROMETHEUS_PORT=$metrics \
        ./target/debug/chat-server >".local/node-$node.log" 2>&1 &
    started+=($!)
    echo "node $node   http://127.0.0.1:$http/health   ws://127.0.0.1:$connections/connection/websocket" \
        "  http://127.0.0.1:$metrics/metrics   log .local/node-$node.log"
done
echo "Ctrl-c ends them."
wait
