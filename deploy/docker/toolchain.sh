#!/bin/sh
# What the image's build stage runs: `install ARCH` gets a cross toolchain where one is needed, `build ARCH FILE` compiles for ARCH, which is
# amd64 or arm64 as Docker has it.
set -eu

action=$1 arch=$2
case $arch in
  amd64) target=x86_64-unknown-linux-gnu triplet=x86_64-linux-gnu package=x86-64-linux-gnu ;;
  arm64) target=aarch64-unknown-linux-gnu triplet=aarch64-linux-gnu package=aarch64-linux-gnu ;;
  *) echo "toolchain.sh: no target for architecture $arch; amd64 and arm64 are supported" >&2; exit 2 ;;
esac
foreign=$([ "$(dpkg --print-architecture)" = "$arch" ] || echo yes)

case $action in
  install)
    rustup target add "$target"
    if [ -n "$foreign" ]; then
      apt-get update
      apt-get install --yes --no-install-recommends "gcc-$package" "libc6-dev-$arch-cross"
    fi
    ;;
  build)
    if [ -n "$foreign" ]; then
      variable=$(echo "$target" | tr a-z- A-Z_)
      export "CARGO_TARGET_${variable}_LINKER=$triplet-gcc" "CC_$(echo "$target" | tr - _)=$triplet-gcc"
    fi
    # No path of the builder's in the program.
    export RUSTFLAGS="--remap-path-prefix=$PWD=. --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=cargo"
    cargo build --locked --release --target "$target"
    mkdir -p "$(dirname "$3")"
    cp "${CARGO_TARGET_DIR:-target}/$target/release/vllm-roofline-exporter" "$3"
    ;;
  *) echo "toolchain.sh: install or build, not $action" >&2; exit 2 ;;
esac
