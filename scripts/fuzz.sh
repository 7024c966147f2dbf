#!/usr/bin/env bash
# Fuzzes what strangers can send, led by coverage, with libFuzzer on the stable toolchain. Needs a C++ compiler.
#
#   scripts/fuzz.sh TARGET [SECONDS] [LIBFUZZER OPTION]...   fuzzes for so long (60); what is found is added to target/fuzz/TARGET
#   scripts/fuzz.sh merge TARGET                              adds to fuzz/corpus/TARGET what of that brings new coverage
#   scripts/fuzz.sh all [SECONDS]                             each target for so long, one after another
#
# A crash is a file crash-… in target/fuzz; `cargo run -p fleetcast-fuzz -- TARGET FILE` plays it again without libFuzzer.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
found=$PWD/target/fuzz

# Its own folder and an explicit target: build scripts and macros are not instrumented. The edges are counted as libFuzzer wants it;
# assertions stay on.
build() { # TARGET
    local features=--no-default-features
    case $1 in directory | events) features=--features=edges ;; esac
    RUSTFLAGS="--cfg fleetcast_fuzz -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
        cargo build --quiet -p fleetcast-fuzz "$features" --target "$host" --target-dir target/fuzz-build
}

run() { # TARGET LIBFUZZER-ARGUMENT...
    local target=$1
    shift
    FLEETCAST_FUZZ_TARGET=$target "target/fuzz-build/$host/debug/fleetcast-fuzz" "$@"
}

fuzz() { # TARGET SECONDS OPTION...
    local target=$1 seconds=$2
    shift 2
    mkdir -p "$found/$target"
    run "$target" "$found/$target" "fuzz/corpus/$target" -max_total_time="$seconds" -max_len=4096 -timeout=20 -rss_limit_mb=2048 \
        -artifact_prefix="$found/" -print_final_stats=1 "$@"
}

case ${1:-} in
    "" | -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "$0" ;;
    merge)
        build "${2:?expected a target}"
        mkdir -p "$found/$2" "fuzz/corpus/$2"
        run "$2" -merge=1 -max_len=4096 "fuzz/corpus/$2" "$found/$2"
        ;;
    all)
        for folder in fuzz/corpus/*/; do
            target=$(basename "$folder")
            build "$target"
            fuzz "$target" "${2:-60}"
        done
        ;;
    *)
        build "$1"
        target=$1 seconds=${2:-60}
        shift $(($# > 2 ? 2 : $#))
        fuzz "$target" "$seconds" "$@"
        ;;
esac
