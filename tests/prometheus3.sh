#!/usr/bin/env bash
# Builds the newest Prometheus from its Go module and runs the tests of rules and dashboards with it instead of the installed one.
#
#   tests/prometheus3.sh [v0.316.0]        needs go; minutes of one core for the first build, kept in target/prometheus
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-latest}
export GOBIN=$PWD/target/prometheus
module=github.com/prometheus/prometheus
go install -tags netgo,remove_all_sd "$module/cmd/promtool@$version" "$module/cmd/prometheus@$version"
go version -m "$GOBIN/prometheus" | grep -P "^\tmod"
PATH=$GOBIN:$PATH cargo test --locked --workspace --test monitoring
