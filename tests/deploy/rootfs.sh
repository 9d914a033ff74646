#!/bin/sh
# Builds DIRECTORY into what the image's base has, out of Debian packages: glibc, libgcc, CA certificates, time zones; no shell.
set -eu
directory=$1
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
chmod 755 "$packages"
(cd "$packages" && apt-get download -qq -o APT::Sandbox::User=root libc6 libgcc-s1 ca-certificates base-files netbase tzdata)
rm -rf "$directory"
mkdir -p "$directory"
for package in "$packages"/*.deb; do dpkg --extract "$package" "$directory"; done
mkdir -p "$directory/etc/ssl/certs" "$directory/usr/bin"
find "$directory/usr/share/ca-certificates" -name '*.crt' -exec cat {} + >"$directory/etc/ssl/certs/ca-certificates.crt"
