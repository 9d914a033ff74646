#!/usr/bin/env bash
# Builds a Collector from its Go modules and the exporter with OTLP, and compares the scraped and the pushed metrics with /metrics.
#
#   tests/otel.sh        needs go and python3; the Collector takes five minutes of one core once, kept in target/otel
set -euo pipefail
cd "$(dirname "$0")/.."

version=v0.165.0
collector=target/otel/collector/otelcol
if [ ! -x "$collector" ]; then
  GOBIN=$PWD/target/otel go install "go.opentelemetry.io/collector/cmd/builder@$version"
  GOFLAGS=-mod=mod target/otel/builder --config tests/otel/manifest.yaml
fi
cargo build --locked --workspace --features vllm-roofline-exporter/otlp
python3 tests/otel/check.py "$collector" "${CARGO_TARGET_DIR:-target}/debug/vllm-roofline-exporter"
