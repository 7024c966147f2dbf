#!/usr/bin/env bash
# The reference implementation of JSONata in the version that AWS Step Functions takes (2.0.6: its developer guide, "Transforming data with JSONata"),
# for the test that runs the workflow's expressions: from npm, pinned by hash, in the project's own folder .tools/jsonata/.
#
#   scripts/jsonata.sh install   installs it if it is not there, and prints the path of its file
#   scripts/jsonata.sh remove    removes .tools/jsonata/
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/npm-package.sh

version=2.0.6
sha512=5a1401e6d5d0df6aa3931d86607170d976cbf74bbe2cbce3a1f018c22fbcea0e92c997971f3f45d50d1a9b2ddd59161ccec84e0b71daa24f49e29382807b70c9
home=$PWD/.tools/jsonata
own=$home/$version

fail() {
    echo "jsonata: $*" >&2
    exit 1
}

install() {
    need_npm ""
    [ -f "$own/jsonata.js" ] && return
    unpack_npm_package jsonata "$version" "$sha512" "$home"
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
