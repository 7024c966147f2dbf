#!/usr/bin/env bash
# A gate for a CI: it fails where a scenario has become slower than its baseline by more than 5 %, and says when it cannot tell.
set -euo pipefail
harness=${HARNESS:-harness}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"$harness" scenarios smoke > smoke.toml

# One seed is one draw: eight of them are a baseline. It outlives runs/ and is kept with the code.
"$harness" plan smoke.toml --seeds 1..9 --out before
"$harness" baseline set main before

# The change that is to be looked at: hosts that send eight chunks at a time.
"$harness" plan smoke.toml --seeds 1..9 --set swarm.upload_slots=8 --out after

# 0: not worse. 1: worse, 19 times of 20. 5: not enough runs to say so.
status=0
"$harness" compare --baseline main after --max-regression 5% || status=$?
case $status in
    0) echo "gate: not slower" ;;
    1) echo "gate: slower" ;;
    5) echo "gate: cannot be told, take more seeds" ;;
    *) echo "gate: the comparison failed with $status" >&2; exit "$status" ;;
esac

# What a CI shows of one run.
"$harness" plan smoke.toml --out one --junit junit.xml --markdown summary.md > /dev/null
head -n 5 summary.md
