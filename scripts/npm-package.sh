# shellcheck shell=bash
# A package of npm, pinned by hash. Sourced by scripts that have a `fail` of their own.
#
#   unpack_npm_package PACKAGE VERSION SHA512 FOLDER
#
# unpacks it in a new folder below FOLDER, which $new names and which goes when the script ends; the package is in $new/package.

# Whoever has neither node nor npm is told what else would do.
need_npm() {
    command -v node >/dev/null || fail "node is missing; install Node.js 18 or newer with npm$1"
    command -v npm >/dev/null || fail "npm is missing; install Node.js 18 or newer with npm$1"
}

unpack_npm_package() {
    local package=$1 version=$2 sha512=$3 folder=$4
    # As npm names the file: @scope/name is scope-name.
    local file=${package#@}
    file=${file//\//-}-$version.tgz
    mkdir -p "$folder"
    new=$(mktemp -d "$folder/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT
    npm pack --silent --pack-destination "$new" "$package@$version" >/dev/null ||
        fail "npm could not fetch $package@$version; its message is above"
    echo "$sha512  $new/$file" | sha512sum --check --quiet - >&2 ||
        fail "what npm gave for $package@$version is not what was pinned; nothing of it was unpacked"
    tar -xzf "$new/$file" -C "$new"
    rm "$new/$file"
}
