#!/usr/bin/env bash
# Installs what the tests need (Debian packages, only those missing) and runs everything.
set -euo pipefail
cd "$(dirname "$0")/.."

need() { command -v "$1" >/dev/null 2>&1 || missing+=("$2"); }
missing=()
need promtool prometheus
need prometheus-alertmanager prometheus-alertmanager
need chromium chromium
need bwrap bubblewrap
need tmux tmux
python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# Checks that could not run are listed again at the end.
UNCHECKED=$(mktemp)
export UNCHECKED
trap 'cat "$UNCHECKED" >&2; rm -f "$UNCHECKED"' EXIT

tests/supply-chain.sh
cargo fmt --check
cargo clippy --locked --workspace --all-targets -- -D warnings
cargo check --locked --no-default-features --features otlp
# The model alone: its build must not depend on features that another crate enables.
cargo check --locked --package roofline
cargo test --locked --workspace

tests/deploy.sh
