#!/usr/bin/env bash
# A fleet of your own, from nothing to why its last host was last.
set -euo pipefail
harness=${HARNESS:-harness}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# 1. A commented scenario. What is not asked for has a default that its comments name.
"$harness" init --hosts 300 --size 500MB --uplink "1 Gbit/s" --downlink "2 Gbit/s" --out "$folder/mine.toml"

# 2. What it comes to: its bound, and what a run or a forecast takes. Nothing runs yet.
"$harness" check "$folder/mine.toml"

# 3. The forecast, with a tenth of the hosts on slow links. --set changes any key of the file.
"$harness" plan "$folder/mine.toml" --out "$folder/forecast" \
    --set 'network.classes.old.hosts="10%"' \
    --set 'network.classes.old.uplink="200 Mbit/s"' \
    --set 'network.classes.old.downlink="200 Mbit/s"'

# 4. Why the last host was last.
"$harness" explain "$folder/forecast"

# 5. What a word means.
"$harness" explain stretch
