#!/usr/bin/env bash
# Builds the functions for a local stack and zips each as target/lambda-local/<function>/bootstrap.zip, which holds one file,
# `bootstrap`: with cargo-lambda where it is installed, for the C library of provided.al2023, else with cargo, for a stack that
# runs them on this machine. Those for AWS are elsewhere, so that neither is taken for the other:
#   cargo lambda build --release --arm64 --output-format zip -p lambdas     (target/lambda)
#   scripts/check-packages.py target/lambda arm64
set -euo pipefail
cd "$(dirname "$0")/.."

functions=(build-worker pipeline-action region-copier regional-sync replication-worker step-function-invoker)

if cargo lambda --version >/dev/null 2>&1; then
    cargo lambda build --release --output-format zip --lambda-dir target/lambda-local -p lambdas >&2
    exit
fi

command -v python3 >/dev/null || { echo "package-lambdas: python3 is missing; it writes the zips" >&2; exit 1; }
cargo build --release -p lambdas --bins >&2
binaries=${CARGO_TARGET_DIR:-target}/release
for function in "${functions[@]}"; do
    mkdir -p "target/lambda-local/$function"
    # The same bytes give the same zip, so that terraform sees no change where there is none.
    python3 - "$binaries/$function" "target/lambda-local/$function/bootstrap.zip" <<'PYTHON'
import sys, zipfile
binary, target = sys.argv[1:]
entry = zipfile.ZipInfo("bootstrap", date_time=(1980, 1, 1, 0, 0, 0))
entry.external_attr = 0o100755 << 16
entry.compress_type = zipfile.ZIP_DEFLATED
with zipfile.ZipFile(target, "w") as archive, open(binary, "rb") as file:
    archive.writestr(entry, file.read())
PYTHON
    echo "target/lambda-local/$function/bootstrap.zip"
done
