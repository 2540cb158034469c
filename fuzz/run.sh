#!/usr/bin/env bash
# Builds the fuzz targets and runs each for a while: run.sh [TARGET...]
# FUZZ_SECONDS is the time of each (60). A crash is kept as a case in fuzz/cases/TARGET/ and ends the run with status 1;
# capture/tests/cases.rs replays it from then on.
#
# The coverage that libFuzzer steers by comes from a pass of LLVM's that the stable compiler has too; the flags are those
# of cargo-fuzz, without a sanitizer: the code has no unsafe of its own. `cargo fuzz run TARGET` works on a nightly one.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${FUZZ_SECONDS:-60}
out=${CARGO_TARGET_DIR:-target}/fuzz
[[ $out = /* ]] || out=$PWD/$out
host=$(rustc -vV | sed -n 's/^host: //p')
all=$(ls fuzz/fuzz_targets | sed 's/\.rs$//')
targets=${*:-$all}

# Only what is built for the target gets the flags: build scripts would not link with them.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
bins=()
for target in $targets; do bins+=(--bin "$target"); done
cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$out" "${bins[@]}"

RUSTFLAGS='' cargo run --quiet --locked --release --manifest-path fuzz/Cargo.toml --target-dir "$out/plain" --bin seeds -- "$out/seeds"

failed=0
for target in $targets; do
    mkdir -p "$out/corpus/$target" "$out/crashes/$target"
    printf '== %s for %s s\n' "$target" "$seconds"
    log=$out/$target.log
    cases=()
    if [ -d "fuzz/cases/$target" ]; then cases=("fuzz/cases/$target"); fi
    if ! "$out/$host/release/$target" "$out/corpus/$target" "$out/seeds/$target" "${cases[@]}" \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$out/crashes/$target/" >"$log" 2>&1; then
        failed=1
        grep -E 'panicked|assertion|^ *(left|right):|ERROR|Test unit written' -A1 "$log" | head -20
        mkdir -p "fuzz/cases/$target"
        find "$out/crashes/$target" -type f -exec mv -t "fuzz/cases/$target" {} +
        continue
    fi
    grep -E 'stat::number_of_executed_units|stat::peak_rss_mb|^#[0-9]+.*DONE' "$log"
done
exit "$failed"
