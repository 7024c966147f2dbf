#!/usr/bin/env bash
# Makes the pictures of README anew, docs/pictures/*.png: report.html of a forecast, as a browser shows it.
set -euo pipefail
cd "$(dirname "$0")/.."
FLEETCAST_CHROMIUM=${FLEETCAST_CHROMIUM:-$(scripts/chromium.sh install)}
export FLEETCAST_CHROMIUM
cargo test --workspace --all-features --test browser -- --ignored pictures
