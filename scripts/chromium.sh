#!/usr/bin/env bash
# A headless Chromium for the tests that look at report.html, without root: from npm's package @sparticuz/chromium, which carries the
# browser itself, pinned by hash, in the project's own folder .tools/chromium/.
#
#   scripts/chromium.sh install   installs it if that version is not there, and prints the path of what starts it
#   scripts/chromium.sh remove    removes .tools/chromium/
#
# Whoever has a Chromium already names it by FLEETCAST_CHROMIUM, and nothing is installed; Debian has one in chromium-headless-shell.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/npm-package.sh

package=@sparticuz/chromium
version=153.0.0
sha512=8e2196a92bcf31dbb8f8ff538a562a011ef21063c41c8371fa50af13f36a34efc41d8cc5ff1d615222394fa8a8548b7b744cbb9fcf1bcb24f4be4f9d9ec810c0
home=$PWD/.tools/chromium
own=$home/$version

fail() {
    echo "chromium: $*" >&2
    exit 1
}

install() {
    [ -x "$own/start" ] && return
    case $(uname -sm) in
        "Linux x86_64") ;;
        *) fail "$package has one for Linux on x86-64 only; FLEETCAST_CHROMIUM=… names another one" ;;
    esac
    need_npm ", or name a Chromium by FLEETCAST_CHROMIUM=…"
    unpack_npm_package "$package" "$version" "$sha512" "$home"
    node -e '
        const { brotliDecompressSync } = require("zlib"), fs = require("fs"), [from, to] = process.argv.slice(1);
        for (const name of ["chromium", "al2023.tar", "fonts.tar"])
            fs.writeFileSync(`${to}/${name}`, brotliDecompressSync(fs.readFileSync(`${from}/${name}.br`)));
    ' "$new/package/bin" "$new"
    tar -xf "$new/al2023.tar" -C "$new"
    tar -xf "$new/fonts.tar" -C "$new"
    cp "$new/package/LICENSE" "$new/LICENSE"
    rm -rf "$new/package" "$new"/*.tar
    chmod 755 "$new" "$new/chromium"
    cat >"$new/fonts.conf" <<FONTS
<?xml version="1.0" ?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>$own/fonts</dir><dir>/usr/share/fonts</dir><cachedir>$own/fonts-cache</cachedir></fontconfig>
FONTS
    rm -rf "$own"
    mv "$new" "$own"
    # Last: an installation that broke off is done again.
    cat >"$own/start.new" <<START
#!/bin/sh
# Libraries that a machine without a desktop lacks come with the package.
export LD_LIBRARY_PATH="\${LD_LIBRARY_PATH:+\$LD_LIBRARY_PATH:}$own/lib" FONTCONFIG_FILE="$own/fonts.conf"
exec "$own/chromium" "\$@"
START
    chmod 755 "$own/start.new"
    mv "$own/start.new" "$own/start"
}

case ${1:-} in
    install)
        if [ -n "${FLEETCAST_CHROMIUM:-}" ]; then
            echo "$FLEETCAST_CHROMIUM"
            exit
        fi
        install
        "$own/start" --version >&2 || fail "it does not start here; FLEETCAST_CHROMIUM=… names another one"
        echo "$own/start"
        ;;
    remove) rm -rf "$home" ;;
    *) fail "expected install or remove" ;;
esac
