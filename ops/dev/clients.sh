#!/usr/bin/env bash
# Installs the public SDKs the tests use as clients, into .local/ of this clone: the npm packages
# into .local/node, the PyPI packages into .local/venv. Nothing global is touched, except that a
# machine without Node or Python gets them from its Debian packages. What is already there in the
# pinned versions is kept, so a second run returns at once.
set -euo pipefail
cd "$(dirname "$0")/../.."

sdk=chat-server/tests/sdk
local=$PWD/.local
mkdir -p "$local"

say() { echo "clients: $*" >&2; }

# One installation at a time: several test runs may start together.
exec 9>"$local/clients.lock"
flock 9

apt_install() {
    local root=()
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || { say "missing packages, and no root: apt-get install $*"; exit 1; }
        root=(sudo)
    fi
    say "installing $* from Debian packages"
    "${root[@]}" apt-get update -q >&2
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "$@" >&2
}

# Prints a checksum over the files that pin the versions and the runtime that loads them.
stamp() { { cat "$@"; echo "$runtime"; } | sha256sum | cut -d' ' -f1; }

install_node() {
    command -v node >/dev/null && command -v npm >/dev/null || apt_install nodejs npm
    local runtime want
    runtime=$(node --version)
    want=$(stamp "$sdk/node/package.json" "$sdk/node/package-lock.json")
    [ "$(cat "$local/node/.stamp" 2>/dev/null || true)" = "$want" ] && return
    say "installing the npm clients into .local/node"
    rm -rf "$local/node"
    mkdir -p "$local/node"
    cp "$sdk/node/package.json" "$sdk/node/package-lock.json" "$local/node/"
    npm ci --prefix "$local/node" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
    echo "$want" >"$local/node/.stamp"
}

install_python() {
    python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv
    local runtime want
    runtime=$(python3 --version)
    want=$(stamp "$sdk/python/requirements.txt")
    [ "$(cat "$local/venv/.stamp" 2>/dev/null || true)" = "$want" ] && return
    say "installing the PyPI clients into .local/venv"
    rm -rf "$local/venv"
    python3 -m venv "$local/venv"
    "$local/venv/bin/python" -m pip install -q --disable-pip-version-check \
        -r "$sdk/python/requirements.txt" >&2
    echo "$want" >"$local/venv/.stamp"
}

install_node
install_python
say "ready"
