#!/usr/bin/env bash
# Installs the servers that `loadtest compare` puts beside the chat-server, and prints what there is:
# nats-server and nginx with nchan from Debian packages, Bun and `ws` from npm, pinned by
# loadtest/peers/package-lock.json, into .local/peers of this clone. Debian's own services are not
# started, and nothing global is changed that was there before. What cannot be had is said and left
# out: its row of the comparison stays blank. With everything there a run takes a second.
#
#   ops/dev/peers.sh                  installs what is missing
#   ops/dev/peers.sh compare [..]     and measures the chat-server beside them, as loadtest says
set -euo pipefail
cd "$(dirname "$0")/../.."

# Debian puts nginx where only root looks.
PATH=$PATH:/usr/sbin
pins=loadtest/peers
local=$PWD/.local
mkdir -p "$local"

say() { echo "peers: $*" >&2; }

# One installation at a time.
exec 9>"$local/peers.lock"
flock 9

# While it is there, no package starts the service it brings.
policy=/usr/sbin/policy-rc.d

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

apt_install() {
    if [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; then
        say "no root: apt-get install $* is left to you"
        return 1
    fi
    say "installing $* from Debian packages"
    if [ ! -e "$policy" ]; then
        trap 'as_root rm -f "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
    fi
    as_root apt-get update -q >&2 || say "the package lists are not fresh"
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@" >&2 || return 1
    # Nor does the next start of the machine bring up what this one did not.
    for unit in nginx nats-server; do
        as_root systemctl disable --quiet "$unit" 2>/dev/null || true
    done
}

# True when nginx and its module are there: either alone serves nobody here.
has_nchan() { command -v nginx >/dev/null && [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ]; }

has_npm() { command -v node >/dev/null && command -v npm >/dev/null; }

install_npm() {
    has_npm || apt_install nodejs npm || return 0
    local runtime want
    runtime=$(node --version)
    want=$({ cat "$pins/package.json" "$pins/package-lock.json"; echo "$runtime"; } \
        | sha256sum | cut -d' ' -f1)
    [ "$(cat "$local/peers/.stamp" 2>/dev/null || true)" = "$want" ] && return
    say "installing Bun and ws into .local/peers"
    rm -rf "$local/peers"
    mkdir -p "$local/peers"
    cp "$pins/package.json" "$pins/package-lock.json" "$local/peers/"
    # No scripts of packages: Bun is started from the package of this platform, where it lies ready.
    if npm ci --prefix "$local/peers" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    then
        echo "$want" >"$local/peers/.stamp"
    else
        say "npm did not install Bun and ws"
    fi
}

# Prints the name of a peer and its version, or that it is absent.
found() {
    local name=$1 version
    shift
    if version=$("$@" 2>&1) && [ -n "$version" ]; then
        echo "$name: $version"
    else
        echo "$name: absent, its row stays blank"
    fi
}

# Of the package that npm took for this platform.
bun_version() {
    local bun
    for bun in "$local"/peers/node_modules/@oven/bun-*/bin/bun; do
        "$bun" --version 2>/dev/null && return
    done
    return 1
}

ws_version() {
    node --version >/dev/null || return 1
    local of=$local/peers/node_modules/ws/package.json
    node -p "require('$of').version + ' on Node ' + process.version"
}

nchan_version() {
    has_nchan || return 1
    local module
    module=$(dpkg-query -W -f '${Version}' libnginx-mod-nchan 2>/dev/null || echo unknown)
    echo "$module in $(nginx -v 2>&1 | sed 's/.*: //')"
}

missing=()
command -v nats-server >/dev/null || missing+=(nats-server)
has_nchan || missing+=(nginx libnginx-mod-nchan)
if [ ${#missing[@]} -gt 0 ]; then
    apt_install "${missing[@]}" || say "not everything could be installed"
fi
install_npm

found nchan nchan_version
found nats-server nats-server --version
found bun bun_version
found ws ws_version

case ${1:-} in
'') ;;
compare)
    # One after the other: the server without what only the load tester needs of its crates.
    cargo build --release --locked --package chat-server --bin chat-server
    cargo build --release --locked --package loadtest --bin loadtest
    ulimit -n "$(ulimit -H -n)"
    exec target/release/loadtest "$@" 9>&-
    ;;
*) say "usage: peers.sh [compare [arguments of loadtest compare]]"; exit 1 ;;
esac
