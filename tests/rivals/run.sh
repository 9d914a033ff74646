#!/usr/bin/env bash
# Four recorded loads, served as vLLM serves them, to this program and to three other terminal tools for vLLM; prints the last screen of each.
#   tests/rivals/run.sh [PROGRAM]
# By hand: needs tmux and python3, and gets the others from PyPI. docs/comparison.md has what they said.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$PWD/${1:-target/debug/vllm-roofline-exporter}
place=$(mktemp -d)
trap 'tmux -L rivals kill-server 2>/dev/null || true; kill $(jobs -p) 2>/dev/null || true; rm -rf "$place"' EXIT
python3 -m venv "$place/tools"
"$place/tools/bin/pip" install --quiet --disable-pip-version-check vllmstat==0.9.1 vllm-htop==0.5.0 smelt-gpu==0.2.2
captures=tests/fixtures/captures
flags="--gpu-source dcgm --gpu H100 --max-num-seqs 256 --max-model-len 8192"

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Ten seconds of one load for one tool: NAME CAPTURE PHASE COMMAND, in which VLLM and DCGM stand for the URLs.
look() {
  local vllm dcgm server command
  vllm=$(free_port) dcgm=$(free_port)
  python3 tests/rivals/serve_capture.py "$2" "$3" "$vllm" "$dcgm" &
  server=$!
  sleep 1
  command=${4//VLLM/http://127.0.0.1:$vllm}
  tmux -L rivals new-session -d -x 130 -y 72 "${command//DCGM/http://127.0.0.1:$dcgm/metrics}; sleep 60"
  sleep 14
  echo "━━ $3: $1"
  tmux -L rivals capture-pane -p | grep -v '^ *$'
  tmux -L rivals kill-server
  kill "$server"
}

for load in "$captures/llama-3.1-8b-kv-starved starved_c128 --gpu-memory-utilization 0.30" "$captures/llama-3.1-8b-bf16 decode_c64" \
  "$captures-h100/h100-qwen2.5-0.5b-open-loop host_c256" "$captures/llama-3.1-8b-bf16 idle"; do
  read -r capture phase own <<<"$load"
  look vllm-roofline-exporter "$capture" "$phase" "$program diagnose --vllm-url VLLM --dcgm-url DCGM --model $capture $flags $own --duration 10s"
  look vllmstat "$capture" "$phase" "$place/tools/bin/vllmstat -u VLLM --no-gpu"
  look vllm-htop "$capture" "$phase" "$place/tools/bin/vllm-htop --url VLLM --gpu-cost-hour 4.29 --num-gpus 1"
  look smelt "$capture" "$phase" "$place/tools/bin/smelt analyze --no-demo --vllm-url VLLM --gpu-hourly 4.29 --sample-seconds 8"
done
