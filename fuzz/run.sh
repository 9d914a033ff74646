#!/usr/bin/env bash
# Fuzzes each target for SECONDS_EACH seconds (600 by default), one after the other, and prints a line for each.
# Needs a nightly toolchain, cargo-fuzz and python3. Arguments select targets; all of them by default.
set -euo pipefail

cd "$(dirname "$0")"
seconds=${SECONDS_EACH:-600}
if [ $# -eq 0 ]; then
    set -- $(sed -n 's|^path = "fuzz_targets/\(.*\).rs"|\1|p' Cargo.toml)
fi

./seeds.py corpus
cargo +nightly fuzz build -s none
for target in "$@"; do
    mkdir -p "kept/$target"
    log=$(mktemp)
    # No input takes a tenth of a second, and no process a tenth of that memory.
    cargo +nightly fuzz run -s none "$target" "corpus/$target" "kept/$target" -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 -print_final_stats=1 >"$log" 2>&1 ||
        { tail -40 "$log" >&2; echo "$target: a finding, see $log" >&2; exit 1; }
    awk -v target="$target" -v seconds="$seconds" '
        /stat::number_of_executed_units/ { runs = $2 }
        /stat::slowest_unit_time_sec/ { slowest = $2 }
        /stat::peak_rss_mb/ { rss = $2 }
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") cov = $(i + 1) }
        END { printf "%s: %d executions in %d s, %d edges, slowest input %d s, %d MiB\n", target, runs, seconds, cov, slowest, rss }
    ' "$log"
    rm "$log"
done
