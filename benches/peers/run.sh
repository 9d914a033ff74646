#!/usr/bin/env bash
# Reads a real vLLM page with our parser and with those that others use, and prints their speeds beside the budget.
# Needs cargo, go and python3, and fetches the peers' modules. ROUNDS=3 by default; the table shows medians.
#
# The peers do not do the same work: VictoriaMetrics' parser skips metadata and checks no names, PromParser and expfmt build
# label sets of their own, the Python client families. Ours reads metadata too, checks all, and walks every label.
set -euo pipefail

peers=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$peers/../.." && pwd)
page=$root/tests/fixtures/vllm/vllm-0.32.0-cpu-after-load.prom
results=${CARGO_TARGET_DIR:-$root/target}/criterion/exposition

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet prometheus_client==0.26.0
(cd "$peers" && go build -o "$work/peers" .)

# Round by round, so that a busy machine slows all of them.
for _ in $(seq "${ROUNDS:-3}"); do
    (cd "$root" && cargo bench --quiet --bench exposition -- \
        --quiet --save-baseline peers '^exposition/(full|needed)$' >&2)
    for what in full needed; do
        "$peers/criterion.py" "$results/$what/peers/estimates.json" "$page" "ours, $what"
    done
    "$work/peers" "$page"
    "$work/venv/bin/python" "$peers/client.py" "$page"
done >"$work/speeds"

"$peers/table.py" "$work/speeds"
