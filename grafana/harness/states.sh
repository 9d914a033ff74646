#!/usr/bin/env bash
# Draws the dashboards at five states of recorded engines, each as an hour of history with the alerts that fire in it:
#
#   grafana/harness/states.sh 13.2.2        pictures: grafana/harness/.work/VERSION/STATE/
#
# Needs what run.sh needs, which has to have prepared VERSION.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
program=${PROGRAM:-target/debug/vllm-roofline-exporter}
captures=${CAPTURES:-tests/fixtures/captures}
work=$here/.work/$1
shift
port=18412

# state: pod=capture/phase …
states=(
  "healthy vllm-0=llama-3.1-8b-bf16/decode_c8"
  "starved vllm-0=llama-3.1-8b-kv-starved/starved_c128"
  "host-bound vllm-0=qwen2.5-0.5b-bf16/decode_c64"
  "idle vllm-0=llama-3.1-8b-bf16/idle"
  "two-engines vllm-0=llama-3.1-8b-bf16/decode_c8 vllm-1=llama-3.1-8b-kv-starved/starved_c128"
)

history() {
  local place=$1 pod=$2 pages
  pages=$(node "$here/cut.mjs" "$captures/${place%/*}" "${place#*/}" "$scratch/$pod")
  "$program" replay --capture "$scratch/$pod" --format openmetrics --gpu-hour-price 2.5 --start "$start" --step 15 \
    --repeat $(((end - start) / (pages - 1) + 1)) --label job=recorded --label namespace=models --label pod="$pod" --label instance="$pod:10860" >"$scratch/$pod.om"
  promtool tsdb create-blocks-from openmetrics "$scratch/$pod.om" "$scratch/data" >/dev/null
}

serve() {
  prometheus --config.file="$1" --storage.tsdb.path="$scratch/data" --web.listen-address=127.0.0.1:$port --web.cors.origin='.*' 2>>"$scratch/prometheus.log" &
  server=$!
  until curl -sf "http://127.0.0.1:$port/-/ready" >/dev/null; do sleep 0.2; done
}

# What the recording rules would have recorded; each pass records what is made of the one before.
record() {
  for _ in 1 2 3; do
    serve /dev/null
    promtool tsdb create-blocks-from rules --start "$start" --end "$end" --eval-interval 30s --url "http://127.0.0.1:$port" \
      --output-dir "$scratch/recorded" deploy/prometheus/recording.yaml deploy/prometheus/fleet.yaml >/dev/null
    kill $server && wait $server 2>/dev/null || true
    mv "$scratch/recorded"/* "$scratch/data/"
  done
}

for state in "${states[@]}"; do
  read -r name pods <<<"$state"
  [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
  scratch=$(mktemp -d)
  # It goes on while the pictures are drawn.
  end=$(($(date +%s) + 240))
  start=$((end - 4200))
  for pod in $pods; do history "${pod#*=}" "${pod%%=*}"; done
  record
  # An hour has passed, but not for this Prometheus: alerts fire at once.
  sed '/^ *for: /d' deploy/prometheus/alerts.yaml >"$scratch/alerts.yaml"
  # The history reaches beyond now: what is recorded now is out of order.
  printf 'global: {evaluation_interval: 5s}\nstorage: {tsdb: {out_of_order_time_window: 2h}}\nrule_files: [%s, %s, %s]\n' "$PWD/deploy/prometheus/recording.yaml" "$PWD/deploy/prometheus/fleet.yaml" "$scratch/alerts.yaml" >"$scratch/prometheus.yaml"
  serve "$scratch/prometheus.yaml"
  # Prometheus writes ALERTS once it has looked for alerts of its former life.
  sleep 60
  mkdir -p "$work/$name"
  (cd "$work" && IDLE=$([ "$name" = idle ] && echo yes) STEP=15 RATE=1m node render.mjs "$OLDPWD/grafana/dashboards" "$name" http://127.0.0.1:$port vllm-0:10860 3600) || echo "$name: see above"
  kill $server && wait $server 2>/dev/null || true
  rm -rf "$scratch"
done
