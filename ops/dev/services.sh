#!/usr/bin/env bash
# Gives the tests a PostgreSQL and a Redis on loopback and prints where they are:
#
#   eval "$(ops/dev/services.sh)"    exports DATABASE_URL and REDIS_URL
#   ops/dev/services.sh stop         stops what an earlier run started, and nothing else
#
# A server that already runs is used as it is: the one DATABASE_URL or REDIS_URL names, the one an
# earlier run started, or an open one on the standard port. Otherwise one is started here, from
# Debian packages that are installed only when missing, on a free port and with its state in
# .local/ of this clone. With everything there the script takes a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/../.."

local=$PWD/.local
state=$local/services
mkdir -p "$state"

say() { echo "services: $*" >&2; }
die() { say "$*"; exit 1; }

# One start at a time. The servers must not inherit the lock, so each is started with 9>&-.
exec 9>"$local/services.lock"
flock 9

apt_install() {
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "missing packages, and no root: apt-get install $*"
        root=(sudo)
    fi
    say "installing $* from Debian packages"
    "${root[@]}" apt-get update -q >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@" >&2
}

# Prints the first port from $1 upward on which nothing listens.
free_port() {
    local port=$1
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}

# Prints a recorded URL, if there is one.
recorded() { cat "$state/$1.url" 2>/dev/null || true; }

# --- PostgreSQL ---------------------------------------------------------------------------------

postgres_bin() {
    find /usr/lib/postgresql -maxdepth 3 -name initdb -printf '%h\n' 2>/dev/null | sort -V | tail -1
}

# True when the URL answers and the user may create what tests create.
postgres_answers() {
    [ -n "$1" ] && [ "$(PGCONNECT_TIMEOUT=2 psql -X -w -A -t "$1" -c \
        "select has_database_privilege(current_database(), 'create')" 2>/dev/null)" = t ]
}

# initdb and postgres refuse to run as root: there, the package's own user runs them.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi
}

# Prints the data directory: in .local/, or below /var/tmp when the postgres user may not enter
# the clone.
postgres_dir() {
    local dir=$state/postgres
    if [ "$(id -u)" = 0 ]; then
        install -d -o postgres "$dir"
        if ! runuser -u postgres -- test -w "$dir" 2>/dev/null; then
            dir=/var/tmp/veza-services-$(echo "$PWD" | cksum | cut -d' ' -f1)
            install -d -m 700 -o postgres "$dir"
        fi
    fi
    echo "$dir"
}

start_postgres() {
    [ -n "$(postgres_bin)" ] || apt_install postgresql
    local bin dir password port
    bin=$(postgres_bin)
    mkdir -p "$state/postgres"
    dir=$(postgres_dir)
    if ! as_postgres test -s "$dir/data/PG_VERSION"; then
        say "creating a PostgreSQL cluster in $dir"
        head -c 24 /dev/urandom | base64 | tr '+/' '-_' \
            | as_postgres sh -c 'umask 077; cat >"$1/password"' sh "$dir"
        (cd / && as_postgres "$bin/initdb" -D "$dir/data" -U veza -A scram-sha-256 -E UTF8 \
            --locale=C.UTF-8 --pwfile="$dir/password") >"$state/initdb.log" 2>&1 \
            || { tail -5 "$state/initdb.log" >&2; die "initdb failed"; }
    fi
    password=$(as_postgres cat "$dir/password")
    # One that runs here although nothing recorded it: .local/ was removed under it.
    (cd / && as_postgres "$bin/pg_ctl" -D "$dir/data" -s -m fast stop) 2>/dev/null || true
    port=$(free_port 54320)
    (cd / && as_postgres "$bin/pg_ctl" -D "$dir/data" -l "$dir/log" -s -w -t 30 \
        -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories=''" \
        -o "-c max_connections=500" start) 9>&- >&2 || die "PostgreSQL did not start, see $dir/log"
    echo "$bin $dir/data" >"$state/postgres.started"
    (umask 077; echo "postgres://veza:$password@127.0.0.1:$port/postgres" >"$state/postgres.url")
    say "PostgreSQL started on port $port"
}

find_postgres() {
    if [ -n "${DATABASE_URL:-}" ]; then
        [[ $DATABASE_URL == postgres* ]] || die "DATABASE_URL must be a postgres:// URL here"
        command -v psql >/dev/null || apt_install postgresql-client
        postgres_answers "$DATABASE_URL" || die "DATABASE_URL is set but does not answer"
        return
    fi
    if command -v psql >/dev/null; then
        for url in "$(recorded postgres)" postgres://postgres@127.0.0.1:5432/postgres \
            postgres://postgres:postgres@127.0.0.1:5432/postgres; do
            if postgres_answers "$url"; then DATABASE_URL=$url; return; fi
        done
    fi
    start_postgres
    DATABASE_URL=$(recorded postgres)
    postgres_answers "$DATABASE_URL" || die "PostgreSQL started but does not answer"
}

# --- Redis --------------------------------------------------------------------------------------

# Prints the major version of the Redis at a redis:// URL, and fails when it does not answer.
redis_major() {
    [ -n "$1" ] || return 1
    timeout 2 redis-cli -u "$1" --no-auth-warning info server 2>/dev/null \
        | tr -d '\r' | sed -n 's/^redis_version:\([0-9]*\).*/\1/p' | grep .
}

redis_answers() { [ "$(redis_major "$1" || echo 0)" -ge 7 ]; }

start_redis() {
    local port dir=$state/redis
    mkdir -p "$dir"
    port=$(free_port 63790)
    redis-server --bind 127.0.0.1 --port "$port" --dir "$dir" --daemonize yes --save '' \
        --appendonly no --pidfile "$dir/pid" --logfile "$dir/log" 9>&- >&2 \
        || die "Redis did not start, see $dir/log"
    echo "redis://127.0.0.1:$port" >"$state/redis.url"
    for _ in $(seq 100); do
        if redis_answers "$(recorded redis)"; then say "Redis started on port $port"; return; fi
        sleep 0.05
    done
    die "Redis started but does not answer (version 7 or later is needed), see $dir/log"
}

find_redis() {
    command -v redis-server >/dev/null && command -v redis-cli >/dev/null \
        || apt_install redis-server
    if [ -n "${REDIS_URL:-}" ]; then
        redis_answers "$REDIS_URL" || die "REDIS_URL is set but no Redis 7 or later answers"
        return
    fi
    for url in "$(recorded redis)" redis://127.0.0.1:6379; do
        if redis_answers "$url"; then REDIS_URL=$url; return; fi
    done
    start_redis
    REDIS_URL=$(recorded redis)
}

stop() {
    if [ -s "$state/postgres.started" ]; then
        local bin data
        read -r bin data <"$state/postgres.started"
        (cd / && as_postgres "$bin/pg_ctl" -D "$data" -s -m fast stop) >&2 || true
        rm -f "$state/postgres.started" "$state/postgres.url"
    fi
    local url
    url=$(recorded redis)
    if [ -n "$url" ]; then
        redis-cli -u "$url" shutdown nosave >/dev/null 2>&1 || true
        rm -f "$state/redis.url"
    fi
}

case ${1:-start} in
start)
    find_postgres
    find_redis
    echo "export DATABASE_URL='$DATABASE_URL'"
    echo "export REDIS_URL='$REDIS_URL'"
    ;;
stop) stop ;;
*) die "usage: services.sh [start|stop]" ;;
esac
