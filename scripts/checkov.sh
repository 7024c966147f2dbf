#!/usr/bin/env bash
# Looks at terraform/ with checkov, from PyPI, pinned by hash (scripts/checkov-requirements.txt), in the project's own folder .tools/checkov/.
# terraform/checkov.yaml names what is left out, with reasons. No part of CI: it installs some hundred packages, which no test of ours needs.
#
#   scripts/checkov.sh          installs it if it is not there, and runs it; exit 1 where a check does not hold
#   scripts/checkov.sh remove   removes .tools/checkov/
set -euo pipefail
cd "$(dirname "$0")/.."

home=$PWD/.tools/checkov
case ${1:-} in
    "") ;;
    remove) rm -rf "$home" && exit ;;
    *) echo "checkov: expected nothing or remove" >&2 && exit 2 ;;
esac
wanted=$(sha256sum <scripts/checkov-requirements.txt)
if [ "$(cat "$home/installed" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$home"
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r scripts/checkov-requirements.txt
    # Last: an installation that broke off is done again.
    echo "$wanted" >"$home/installed"
fi
"$home/bin/checkov" --directory terraform --config-file terraform/checkov.yaml
echo "checkov: all that terraform/checkov.yaml does not leave out holds"
