#!/usr/bin/env bash
# Builds the image for amd64 and arm64 as far as possible without a container engine: the programs with deploy/docker/toolchain.sh, the base
# from Debian packages, both as an OCI layout in target/image. Prints the sizes and runs each program in its base. By hand: release
# builds take minutes, the foreign one needs a cross compiler (toolchain.sh install ARCH) and qemu-user-static.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$PWD/target/image
mkdir -p "$out"
images=()
for arch in ${ARCHITECTURES:-amd64 arm64}; do
  # Existing programs, for example the release workflow's, are used unchanged.
  program=$out/vllm-roofline-exporter-$arch
  [ -x "$program" ] || deploy/docker/toolchain.sh build "$arch" "$program"
  tests/deploy/rootfs.sh "$out/base-$arch" "$arch"
  images+=("$arch=$out/base-$arch:$program")
done
rm -rf "$out/layout"
python3 tests/deploy/oci.py "$out/layout" "${images[@]}"

for arch in ${ARCHITECTURES:-amd64 arm64}; do
  emulator=()
  if [ "$arch" != "$(dpkg --print-architecture)" ]; then
    emulator=("qemu-$([ "$arch" = arm64 ] && echo aarch64 || echo x86_64)-static" -L "$out/base-$arch")
  fi
  for command in --version gpus; do
    "${emulator[@]}" "$out/vllm-roofline-exporter-$arch" "$command" >"$out/$arch.txt"
    head -1 "$out/$arch.txt"
  done
done
