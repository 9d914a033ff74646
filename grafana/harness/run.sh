#!/usr/bin/env bash
# Draws the dashboards over the demo with Grafana's published libraries, and holds them to its published schema.
#
#   grafana/harness/run.sh 11.6.9 13.2.2        pictures and what was drawn: grafana/harness/.work/VERSION/out/
#
# Needs node, npm, chromium, prometheus and the debug build. About 650 MB of packages for each version.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
cd "$root"

program=$root/target/debug/vllm-roofline-exporter
scratch=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$scratch"' EXIT

prepare() {
  local version=$1 react=18.3.1 work=$here/.work/$1
  [ "${version%%.*}" -ge 13 ] && react=19.1.0
  mkdir -p "$work/out"
  if [ ! -d "$work/node_modules/react-dom" ]; then
    sed -e "s/GRAFANA/$version/; s/REACT/$react/" "$here/package.json" >"$work/package.json"
    (cd "$work" && npm install --no-audit --no-fund --ignore-scripts --legacy-peer-deps --no-package-lock >npm.log)
  fi
  cp "$here"/*.ts "$here"/*.tsx "$here"/*.mjs "$here/index.html" "$work/"
  cp "$work/node_modules/uplot/dist/uPlot.min.css" "$work/"
  (cd "$work" && node node_modules/esbuild/install.js 2>/dev/null || true)
  (cd "$work" && node_modules/.bin/esbuild page.tsx --bundle --outfile=page.js --format=iife --log-level=error \
    --define:GRAFANA_MAJOR="${version%%.*}" --define:process.env.NODE_ENV='"production"' \
    --loader:.svg=dataurl --loader:.ttf=empty --loader:.woff2=empty)
}

start_stack() {
  "$program" demo --vllm-port 18400 --web.listen-address 127.0.0.1:18401 --gpu-hour-price 2.5 2>"$scratch/demo.log" &
  sed -e "s#\.\./prometheus#$root/deploy/prometheus#; s/:8000/:18400/; s/:10860/:18401/" deploy/compose/prometheus.yaml >"$scratch/prometheus.yaml"
  prometheus --config.file="$scratch/prometheus.yaml" --storage.tsdb.path="$scratch/data" \
    --web.listen-address=127.0.0.1:18402 --web.cors.origin='.*' 2>"$scratch/prometheus.log" &
}

for version in "$@"; do
  prepare "$version"
  echo "Grafana $version: schema"
  (cd "$here/.work/$version" && node schema.mjs "$root/grafana/dashboards")
done
start_stack
echo "recording two minutes of the demo"
sleep 120
for version in "$@"; do
  echo "Grafana $version: pictures"
  (cd "$here/.work/$version" && node render.mjs "$root/grafana/dashboards" out http://127.0.0.1:18402 127.0.0.1:18401)
done
