#!/usr/bin/env bash
# Builds the wheel, or uses the given one, and starts the demo from a fresh virtual environment.
#   tests/wheel.sh [WHEEL]
# By hand and in the release workflow: it needs a release build.
set -euo pipefail
cd "$(dirname "$0")/.."

most_bytes=8000000
most_seconds=15
place=$(mktemp -d)
demo=
trap '[ -z "$demo" ] || kill "$demo" 2>/dev/null; rm -rf "$place"' EXIT

wheel=${1:-}
if [ -z "$wheel" ]; then
  python3 -m venv "$place/build"
  "$place/build/bin/pip" install --quiet --disable-pip-version-check 'maturin>=1.9,<2'
  "$place/build/bin/maturin" build --release --locked --out "$place/wheels"
  wheel=$(echo "$place"/wheels/*.whl)
fi
bytes=$(stat -c %s "$wheel")
echo "$(basename "$wheel"): $bytes bytes"
[ "$bytes" -lt "$most_bytes" ] || { echo "larger than $most_bytes bytes" >&2; exit 1; }

started=$(date +%s%N)
python3 -m venv "$place/fresh"
"$place/fresh/bin/pip" install --quiet --disable-pip-version-check --no-index "$wheel"
program=$place/fresh/bin/vllm-roofline-exporter
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
"$program" --version | grep -qF "$version" || { echo "not version $version" >&2; exit 1; }
"$program" demo --web.listen-address 127.0.0.1:0 2>"$place/log" &
demo=$!
until address=$(sed -n 's,.*serving on http://\([0-9.:]*\).*,\1,p' "$place/log") && [ -n "$address" ] &&
  python3 -c 'import sys, urllib.request as u; sys.exit("class=\"roofline\"" not in u.urlopen(sys.argv[1]).read().decode())' "http://$address/" 2>/dev/null; do
  kill -0 "$demo" || { cat "$place/log" >&2; exit 1; }
  [ $((($(date +%s%N) - started) / 1000000000)) -lt 60 ] || { echo "no roofline on http://$address/" >&2; exit 1; }
  sleep 0.1
done
milliseconds=$((($(date +%s%N) - started) / 1000000))
echo "installed, and the roofline on the demo's page: $milliseconds ms"
[ "$milliseconds" -lt $((most_seconds * 1000)) ] || { echo "slower than $most_seconds s" >&2; exit 1; }
