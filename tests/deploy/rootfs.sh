#!/bin/sh
# rootfs.sh DIRECTORY [amd64|arm64]: builds DIRECTORY into what the image's base has, out of Debian packages: glibc, libgcc, CA
# certificates, time zones; no shell. Without an architecture, the machine's own.
set -eu
directory=$1
arch=${2:-$(dpkg --print-architecture)}
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
chmod 755 "$packages"
cd "$packages"
set -- -qq -o APT::Sandbox::User=root
if [ "$arch" != "$(dpkg --print-architecture)" ]; then
  # Lists of its own: the machine's dpkg need not know the architecture.
  mkdir -p lists/partial cache/archives/partial
  set -- "$@" -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State::Lists="$packages/lists" -o Dir::Cache="$packages/cache" \
    -o Dir::State::status=/dev/null
  apt-get "$@" update
fi
apt-get "$@" download libc6 libgcc-s1 ca-certificates base-files netbase tzdata
cd - >/dev/null
rm -rf "$directory"
mkdir -p "$directory"
for package in "$packages"/*.deb; do dpkg --extract "$package" "$directory"; done
mkdir -p "$directory/etc/ssl/certs" "$directory/usr/bin"
find "$directory/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$directory/etc/ssl/certs/ca-certificates.crt"
