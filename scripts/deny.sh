#!/usr/bin/env bash
# Holds dependencies to deny.toml: licenses, where crates come from, and crates that are not to be there.
#
#   scripts/deny.sh               licenses, bans and sources, which need no network
#   scripts/deny.sh advisories    what is known to be unsafe or unmaintained, too: fetches the database of RustSec
#
# Needs cargo-deny: `cargo install cargo-deny --locked`. Where it is not installed nothing is checked, and that is said.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null; then
    echo "deny: cargo-deny is not installed, so licenses, bans and sources stay unchecked; 'cargo install cargo-deny --locked' makes it"
    exit 0
fi
cargo deny check --hide-inclusion-graph "$@" bans licenses sources
