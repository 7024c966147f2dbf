#!/usr/bin/env bash
# The reference implementation of JSONata in the version that AWS Step Functions takes (2.0.6: its developer guide, "Transforming data with JSONata"),
# for the test that runs the workflow's expressions: from npm, pinned by hash, in the project's own folder .tools/jsonata/.
#
#   scripts/jsonata.sh install   installs it if it is not there, and prints the path of its file
#   scripts/jsonata.sh remove    removes .tools/jsonata/
set -euo pipefail
cd "$(dirname "$0")/.."

version=2.0.6
sha512=5a1401e6d5d0df6aa3931d86607170d976cbf74bbe2cbce3a1f018c22fbcea0e92c997971f3f45d50d1a9b2ddd59161ccec84e0b71daa24f49e29382807b70c9
home=$PWD/.tools/jsonata
own=$home/$version

fail() {
    echo "jsonata: $*" >&2
    exit 1
}

install() {
    command -v node >/dev/null || fail "node is missing; install Node.js 18 or newer with npm"
    [ -f "$own/jsonata.js" ] && return
    command -v npm >/dev/null || fail "npm is missing; install Node.js 18 or newer with npm"
    mkdir -p "$home"
    new=$(mktemp -d "$home/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    npm pack --silent --pack-destination "$new" "jsonata@$version" >/dev/null ||
        fail "npm could not fetch jsonata@$version; its message is above"
    echo "$sha512  $new/jsonata-$version.tgz" | sha512sum --check --quiet - >&2 ||
        fail "what npm gave for jsonata@$version is not what was pinned; nothing of it was unpacked"
    tar -xzf "$new/jsonata-$version.tgz" -C "$new"
    rm -rf "$own"
    mv "$new/package" "$own"
}

case ${1:-} in
    install)
        install
        echo "$own/jsonata.js"
        ;;
    remove) rm -rf "$home" ;;
    *) fail "expected install or remove" ;;
esac
