#!/usr/bin/env bash
# Does every decision of the core have a test that dies without it? Changes the deciding files of crates/swarm one place at a time and
# runs the tests on each change. Not part of CI: all of it takes hours, so it is done in shards.
#
#   cargo install cargo-mutants --locked      once
#   scripts/mutants.sh 0/8                    the first of eight shards, each of every eighth change in all files
#   scripts/mutants.sh 0/1 tracker.rs         all changes of one file
#   scripts/mutants.sh table                  what was seen so far, by file
#
# Each shard has two stages: the unit tests but for the long ones, a few seconds for each change, and then all of crates/swarm's on what
# these let pass. Results are in target/mutants/, what was missed in missed.txt. What changes nothing that anybody could see is left out
# by scripts/mutants.exclude, one pattern a line with the reason above it.
#
# CARGO_TARGET_DIR: where it builds (target/mutants/build). MUTANTS_TIMEOUT: seconds for a stage's tests of one change (60).
set -euo pipefail
cd "$(dirname "$0")/.."

results=$PWD/target/mutants
exclude=$PWD/scripts/mutants.exclude
timeout=${MUTANTS_TIMEOUT:-60}

table() {
    # What a later stage noticed was missed by the one before.
    cat "$results"/*/noticed.txt | sort -u > "$results/noticed.txt"
    cat "$results"/*/missed.txt | sort -u | comm -23 - "$results/noticed.txt" > "$results/missed.txt"
    cat "$results"/{noticed,missed}.txt | cut -d: -f1 | sort | uniq -c | while read -r viable file; do
        missed=$(grep -c "^$file:" "$results/missed.txt" || true)
        printf '%-50s viable %4d  noticed %4d  missed %3d  %3d %%\n' "$file" "$viable" "$((viable - missed))" "$missed" \
            "$((100 * (viable - missed) / viable))"
    done
}

if [ "${1:-}" = table ]; then
    table
    exit
fi
if ! [[ "${1:-}" =~ ^[0-9]+/[0-9]+$ ]]; then
    sed -n '2,/^set/p' "$0" | sed '$d; s/^# \{0,1\}//'
    exit 2
fi
shard=$1
file=${2:-}

files=()
for folder in peer seeder lower_bound wire; do
    files+=(-f "crates/swarm/src/$folder/**")
done
for name in availability bitfield chunk_scheduler holdings neighbours overlay timer_table tracker upload_queue upload_slots; do
    files+=(-f "crates/swarm/src/$name.rs")
done
if [ -n "$file" ]; then
    files=(-f "crates/swarm/src/$file")
fi

# Compiling is most of it: as little of that as may be, and no lines for debuggers.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$results/build} CARGO_PROFILE_DEV_DEBUG=0 RUST_BACKTRACE=0
# A change that is caught is not made smaller, nor kept as a regression.
export PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1

left_out=()
while IFS= read -r pattern; do
    left_out+=(--exclude-re "$pattern")
done < <(grep -v -e '^#' -e '^$' "$exclude")

run() {
    local optimised=$1
    shift
    # 2 and 3 say that some were missed, or took too long.
    nice -n 15 cargo mutants -p swarm --all-features "${files[@]}" "${left_out[@]}" --shard "$shard" --sharding round-robin \
        --output "$out" --iterate --timeout "$timeout" "-C=--config=profile.dev.package.swarm.opt-level=$optimised" "$@" || case $? in 2 | 3) ;; *) return 1 ;; esac
    # The next stage begins its lists anew.
    cat "$out"/mutants.out/{caught,timeout}.txt >> "$out/noticed.txt"
    cp "$out/mutants.out/missed.txt" "$out/missed.txt"
}

out=$results/${shard/\//-of-}${file:+-${file//\//-}}
mkdir -p "$out"
run 0 -C=--lib -- -- --skip whatever_happens --skip however_hosts_come --skip the_first_pass_ends_whatever --skip what_is_read_for
# Those that were caught are not run again. Their list is kept by cargo-mutants in the folder of the run before.
run 1 -- --lib --test alone --test faults --test holdings --test losses --test lower_bound --test properties --test signed --test whole_swarm \
    --test without_seeders
table
