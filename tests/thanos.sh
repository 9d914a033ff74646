#!/usr/bin/env bash
# Builds Thanos from its Go module, and tests the rules and dashboards over two clusters behind it: a Prometheus and a sidecar each, one
# querier, the rules shared by two rulers.
#
#   tests/thanos.sh [v0.42.4]        needs go and the tools of tests/monitoring; minutes for the first build, kept in target/thanos
set -euo pipefail
cd "$(dirname "$0")/.."

version=${1:-latest}
out=$PWD/target/thanos
# Its go.mod replaces modules, which `go install` refuses.
module=$(go mod download -json "github.com/thanos-io/thanos@$version")
field() { sed -n "s/^\t\"$1\": \"\(.*\)\",\?$/\1/p" <<<"$module"; }
export THANOS=$out/thanos-$(field Version)
if [ ! -x "$THANOS" ]; then
  rm -rf "$out" && mkdir -p "$out"
  cp -r "$(field Dir)" "$out/source" && chmod -R u+w "$out/source"
  (cd "$out/source" && go build -tags netgo,slicelabels -o "$THANOS" ./cmd/thanos)
  rm -rf "$out/source"
fi
go version -m "$THANOS" | grep -P "^\tpath"
cargo test --locked --workspace --test monitoring -- --ignored --nocapture over_two_clusters
