#!/usr/bin/env bash
# Runs every test of the workspace, the documentation's examples and the benches (once, small) included, and ends with one
# line that sums them up. Needs a Rust toolchain, and Python 3.10 or newer for the local stack, which it installs into
# .local-stack/. Every test that needs a stack starts one of its own and stops it.
set -uo pipefail
cd "$(dirname "$0")"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
if [ -z "${FLEETCAST_LOCAL_STACK_BIN:-}" ]; then
    # If it cannot be installed, the tests that need it fail and say so; the others run.
    FLEETCAST_LOCAL_STACK_BIN=$(scripts/local-stack.sh install) && export FLEETCAST_LOCAL_STACK_BIN || status=1
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
