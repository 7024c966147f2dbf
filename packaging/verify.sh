#!/usr/bin/env bash
# Builds what the packages and the image are made of, looks into each, unpacks it, and starts the agent from there: with the configuration that
# came with it and one line edited it follows a directory and has a build (crates/peer/tests/installed.rs).
#
#   packaging/verify.sh [--keep FOLDER]    leaves packages and images in FOLDER
#
# Needs cargo, cargo-deb and dpkg-deb for .deb, cargo-generate-rpm and rpm for .rpm, python3 and ldd for the image, and root for chroot. What is
# missing is named and left out, and the exit code is 77 then; 0 where all was tried, 1 where something is wrong. Nothing is fetched but what cargo lacks.
set -euo pipefail
cd "$(dirname "$0")/.."

left_out=()
out=$(mktemp -d)
keep=''
trap '[ "$keep" ] || rm -rf "$out"' EXIT
case ${1:-} in
--keep)
    keep=${2:?verify.sh: --keep wants a folder}
    mkdir -p "$keep"
    rm -rf "$out"
    out=$(cd "$keep" && pwd)
    ;;
'') ;;
*)
    echo "verify.sh: $1 is none of its options; expected --keep FOLDER" >&2
    exit 2
    ;;
esac

say() { echo "verify.sh: $*"; }
fail() {
    echo "verify.sh: $*" >&2
    exit 1
}
# has TOOL WHAT: whether it is there; what stays untried without it is remembered.
has() {
    command -v "$1" >/dev/null && return
    say "$1 is missing: $2 stays untried"
    left_out+=("$1")
    return 1
}

# Gives an unpacked root what a program there is started with, and the folders that its unit makes.
furnish() { # ROOT USER
    local library
    for library in $(ldd "$1/usr/bin/fleetcast-host" | grep -o '/[^ ]* (0x' | cut -d' ' -f1); do
        install -D "$library" "$1$library"
    done
    install -d -o "$2" -g "$2" "$1/var/lib/fleetcast" "$1/run/fleetcast"
}

# Starts the host agent of an unpacked root.
start() { # ROOT WHAT
    if [ "$(id -u)" != 0 ]; then
        say "not root: the agent of $2 stays unstarted"
        left_out+=(root)
        return
    fi
    FLEETCAST_INSTALLED_ROOT=$1 cargo test --quiet --workspace --all-features --test installed -- --nocapture
    say "$2: the agent has followed a directory and has a build"
}

# The files that a package is to have, by the list of those that it has.
contains() { # AGENT LIST
    local file
    for file in "usr/bin/fleetcast-$1" "etc/fleetcast/$1.toml" "fleetcast-$1.service" "sysusers.d/fleetcast-$1.conf" "doc/fleetcast-$1/operations.md"; do
        grep -q "$file" <<<"$2" || fail "the package of fleetcast-$1 lacks $file; it has: $2"
    done
}

debs() {
    local package agent deb
    has cargo-deb "the .deb" && has dpkg-deb "the .deb" || return 0
    for package in peer:host seeder:seeder; do
        agent=${package#*:}
        cargo deb --quiet -p "${package%:*}" --no-build --output "$out/fleetcast-$agent.deb" >/dev/null
        deb=$out/fleetcast-$agent.deb
        contains "$agent" "$(dpkg-deb -c "$deb")"
        [ "$(dpkg-deb -f "$deb" Package)" = "fleetcast-$agent" ] || fail "$deb is not called fleetcast-$agent"
        dpkg-deb -f "$deb" Depends | grep -q systemd || fail "$deb does not depend on systemd"
        dpkg-deb --ctrl-tarfile "$deb" | tar xO ./conffiles | grep -qx "/etc/fleetcast/$agent.toml" ||
            fail "$deb would overwrite /etc/fleetcast/$agent.toml when it is upgraded"
        dpkg-deb --ctrl-tarfile "$deb" | tar xO ./postinst >"$out/postinst"
        sh -n "$out/postinst" || fail "the postinst of $deb is no shell script"
        # A file that is not there would leave the package half-installed.
        grep -q "systemd-sysusers .* fleetcast-$agent.conf" "$out/postinst" || fail "the postinst of $deb makes no user by fleetcast-$agent.conf"
        dpkg-deb -x "$deb" "$out/$agent-deb"
    done
    # On one machine both have to go together.
    comm -12 <(cd "$out/host-deb" && find . -type f | sort) <(cd "$out/seeder-deb" && find . -type f | sort) | grep . &&
        fail "both packages have these files, so they cannot be installed together"
    say ".deb: $(du -k "$out"/*.deb | awk '{printf "%s KiB ", $1}')"
    furnish "$out/host-deb" 65532
    start "$out/host-deb" .deb
}

rpms() {
    local package agent rpm
    has cargo-generate-rpm "the .rpm" && has rpm "the .rpm" || return 0
    for package in peer:host seeder:seeder; do
        agent=${package#*:}
        rpm=$out/fleetcast-$agent.rpm
        cargo generate-rpm -p "crates/${package%:*}" --output "$rpm" >/dev/null
        contains "$agent" "$(rpm -qpl "$rpm" 2>/dev/null)"
        rpm -qp --requires "$rpm" 2>/dev/null | grep -q '^systemd' || fail "$rpm does not require systemd"
        rpm -qpc "$rpm" 2>/dev/null | grep -qx "/etc/fleetcast/$agent.toml" || fail "$rpm would overwrite /etc/fleetcast/$agent.toml"
        rpm -qp --scripts "$rpm" 2>/dev/null | grep -q systemd-sysusers || fail "$rpm does not make its user"
    done
    say ".rpm: $(du -k "$out"/*.rpm | awk '{printf "%s KiB ", $1}')"
    has rpm2archive "starting what the .rpm has" || return 0
    mkdir -p "$out/host-rpm"
    rpm2archive - <"$out/fleetcast-host.rpm" | tar xz -C "$out/host-rpm"
    furnish "$out/host-rpm" 65532
    start "$out/host-rpm" .rpm
}

images() {
    local agent first second root layer
    has python3 "the image" && has ldd "the image" || return 0
    for agent in host:peer seeder:seeder; do
        first=$(packaging/image.py "${agent%:*}" --binary "target/release/${agent#*:}" --out "$out/${agent%:*}-image")
        second=$(packaging/image.py "${agent%:*}" --binary "target/release/${agent#*:}" --out "$out/${agent%:*}-image.tar")
        [ "$first" = "$second" ] || fail "two runs of packaging/image.py give two images: $first, $second"
        [ "${first#* }" -le $((60 << 20)) ] || fail "the image of ${agent%:*} has ${first#* } bytes; expected 60 MiB at most"
        say "image of ${agent%:*}: $first bytes"
    done
    root=$out/host-root
    mkdir -p "$root"
    layer=$(python3 - "$out/host-image" <<'PY'
import json, pathlib, sys
layout = pathlib.Path(sys.argv[1])
blob = lambda digest: layout / "blobs" / digest.replace(":", "/")
index = json.loads((layout / "index.json").read_text())
print(blob(json.loads(blob(index["manifests"][0]["digest"]).read_text())["layers"][0]["digest"]))
PY
    )
    tar xzpf "$layer" -C "$root" --numeric-owner
    start "$root" "the image"
}

cargo build --release --locked -p peer -p seeder
debs
rpms
images
if [ "${#left_out[@]}" -gt 0 ]; then
    say "left out, for lack of: ${left_out[*]}"
    exit 77
fi
say "all was tried, and is well"
