#!/usr/bin/env bash
# Measures the exporter's cost compared with its peers, and prints one table: the section of docs/performance.md. --write updates it.
#
# Needs cargo, go, python3, valgrind and cc; fetches the peers, at the versions below and in benches/peers, into ${WORK:-target/peers}.
# VLLM_URL names a running vLLM for the cost of a scrape. The table names missing peers. Takes about ten minutes, and needs an idle machine.
#
# The parsers do not do the same work: VictoriaMetrics' skips metadata and checks no names, PromParser and expfmt build label sets of
# their own, the Python client and openmetrics-parser build families. Ours also parses metadata, validates everything, and iterates over all labels.
set -euo pipefail

NODE_EXPORTER_VERSION=v1.12.1
PROMETHEUS_CLIENT_VERSION=0.26.0
ROUNDS=3

benches=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$benches")
target=${CARGO_TARGET_DIR:-$root/target}
work=${WORK:-$target/peers}
page=$root/tests/fixtures/vllm/vllm-0.32.0-cpu-after-load.prom
mkdir -p "$work"
results=$work/results
: >"$results"
cd "$root"

# Runs a command that fetches a peer; if that fails, the table says so.
fetch() {
    local name=$1
    shift
    echo "fetching $name" >&2
    "$@" >"$work/log" 2>&1 || {
        printf 'missing, %s\t%s\n' "$name" "$(tail -1 "$work/log")" >>"$results"
        return 1
    }
}

python_client() {
    python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet "prometheus_client==$PROMETHEUS_CLIENT_VERSION"
}
go_parsers() { (cd benches/peers && go build -o "$work/parsers" .); }
rust_parser() { cargo build --quiet --release --manifest-path benches/peers/openmetrics/Cargo.toml --target-dir "$work/openmetrics"; }
node_exporter() { GOBIN=$work go install "github.com/prometheus/node_exporter@$NODE_EXPORTER_VERSION"; }

fetch "Python client" python_client && export PYTHON=$work/venv/bin/python
fetch "Go parsers" go_parsers && go=1
fetch openmetrics-parser rust_parser && rust=1
fetch node_exporter node_exporter && export NODE_EXPORTER=$work/node_exporter

echo "building" >&2
cargo build --quiet --release --bins --example cost
cost=$target/release/examples/cost

# Round by round, so that other load affects all of them.
for _ in $(seq "$ROUNDS"); do
    echo "parsing" >&2
    "$cost" parse >>"$results"
    [ -z "${go:-}" ] || "$work/parsers" "$page" >>"$results"
    [ -z "${rust:-}" ] || "$work/openmetrics/release/openmetrics-peer" "$page" >>"$results"
    [ -z "${PYTHON:-}" ] || "$PYTHON" benches/peers/client.py "$page" >>"$results"
done

# Instructions of several runs minus those of one.
instructions() {
    local times=21
    count() {
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "$cost" instructions "$1" "$2" 2>&1 | awk '/Collected/ { print $NF }'
    }
    printf 'instructions, %s\t%d\t\n' "$1" $((($(count "$1" $times) - $(count "$1" 1)) / (times - 1)))
}
if command -v valgrind >/dev/null; then
    for what in full needed tick; do
        echo "counting instructions of $what" >&2
        instructions "$what" >>"$results"
    done
else
    printf 'missing, valgrind\tinstall the package of that name\n' >>"$results"
fi

echo "ticks and predictions" >&2
"$cost" ticks >>"$results"
"$cost" grid >>"$results"
"$benches/process.py" "$target/release/vllm-roofline-exporter" >>"$results"
echo "the running program" >&2
"$cost" serve >>"$results"
"$cost" scrape >>"$results"
printf 'binary\t%s\tbytes\n' "$(stat -c %s "$target/release/vllm-roofline-exporter")" >>"$results"

"$benches/table.py" "$results" "$@"
