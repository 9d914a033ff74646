#!/usr/bin/env bash
# Checks that a refactoring changes no output: runs two builds of the program over every capture and prints the differences.
#   tests/compare.sh OLD NEW [CAPTURE…]      exit code 0: nothing differs
set -euo pipefail
[ $# -ge 2 ] || { echo "usage: tests/compare.sh OLD NEW [CAPTURE…]" >&2; exit 2; }
old=$(realpath "$1") new=$(realpath "$2")
shift 2
cd "$(dirname "$0")/.."
captures=("$@")
[ ${#captures[@]} -gt 0 ] || captures=(tests/fixtures/captures/*/)

output=$(mktemp --directory)
trap 'rm -rf "$output"' EXIT
differences=0
# The output of a build, including error messages, without its revision, which always differs.
printed() { { "$@" 2>&1 || echo "exit code $?"; } | grep -v '^vllm_roofline_build_info{'; }
same() {
  printed "$old" "$@" >"$output/old"
  printed "$new" "$@" >"$output/new"
  if ! cmp --quiet "$output/old" "$output/new"; then
    differences=$((differences + 1))
    echo "differs: $*"
    diff "$output/old" "$output/new" | head -n 10 || true
  fi
}

for capture in "${captures[@]}"; do
  for format in table json openmetrics; do same replay --capture "$capture" --format "$format"; done
  for format in table json; do same dynamic --capture "$capture" --format "$format"; done
  same static --model "$capture" --gpu H100 --input-len 1000 --output-len 200 --batch 16 --format json
done
same metrics --format json
same gpus --format json
echo "${#captures[@]} captures, $differences differences"
[ "$differences" = 0 ]
