#!/usr/bin/env bash
# Runs every test of the workspace, the documentation's examples and the benches (once, small) included, and ends with one
# line that sums them up. Needs a Rust toolchain, and Python 3.10 or newer for the local stack, which it installs into
# .local-stack/; and a Chromium for the tests of report.html, by npm, in .tools/. Every test that needs a stack starts one of its own and stops it.
set -uo pipefail
cd "$(dirname "$0")"

# On a disk that fills up tests fail one after another, each after its time has run out.
needs() { # FOLDER GIB
    mkdir -p "$1"
    local free
    free=$(df -Pk "$1" | awk 'NR == 2 {print int($4 / 1048576)}')
    if [ "$free" -lt "$2" ]; then
        echo "run-tests.sh: $1 has $free GiB free and this needs $2; free some, or set CARGO_TARGET_DIR or TMPDIR to a folder on a larger disk" >&2
        exit 1
    fi
}
target=${CARGO_TARGET_DIR:-target}
# What a first build takes; a later one builds over it.
if [ -d "$target/debug/deps" ]; then needs "$target" 2; else needs "$target" 6; fi
needs "${TMPDIR:-/tmp}" 2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
if [ -z "${FLEETCAST_LOCAL_STACK_BIN:-}" ]; then
    # If it cannot be installed, the tests that need it fail and say so; the others run.
    FLEETCAST_LOCAL_STACK_BIN=$(scripts/local-stack.sh install) && export FLEETCAST_LOCAL_STACK_BIN || status=1
fi
if [ -z "${FLEETCAST_CHROMIUM:-}" ]; then
    # Without one the tests of report.html in a browser are skipped, and in CI they fail.
    if FLEETCAST_CHROMIUM=$(scripts/chromium.sh install); then
        export FLEETCAST_CHROMIUM
    else
        echo "run-tests.sh: no Chromium could be installed, for the reason above: the tests of report.html in a browser do not run" >&2
    fi
fi
cargo test --workspace --all-features --all-targets --no-fail-fast "$@" 2>&1 | tee "$log" || status=1
cargo test --workspace --all-features --doc 2>&1 | tee -a "$log" || status=1

passed=$(awk '/^test result:/ {sum += $4} END {print sum + 0}' "$log")
failed=$(awk '/^test result:/ {sum += $6} END {print sum + 0}' "$log")
if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
    failed=1 # It did not build, a test did not end, or the local stack could not be installed.
fi
echo "$passed passed, $failed failed"
exit "$status"
