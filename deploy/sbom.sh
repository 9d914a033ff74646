#!/usr/bin/env bash
# Writes the bill of materials of the released program, CycloneDX 1.5 in JSON: every linked crate with version, licence, source
# and checksum.
#   deploy/sbom.sh FILE [TARGET]
# Needs cargo-cyclonedx (installed into target/tools if missing: 4 CPU minutes, once) and jq. The same tree gives the same file
# for the same SOURCE_DATE_EPOCH.
set -euo pipefail
file=$(realpath "${1:?usage: deploy/sbom.sh FILE [TARGET]}") target=${2:-x86_64-unknown-linux-gnu}
cd "$(dirname "$0")/.."

version=0.5.9
cyclonedx=$(command -v cargo-cyclonedx || true)
if [ -z "$cyclonedx" ]; then
  tools=target/tools/cargo-cyclonedx-$version
  cyclonedx=$tools/bin/cargo-cyclonedx
  [ -x "$cyclonedx" ] || cargo install --quiet cargo-cyclonedx --version "$version" --locked --root "$tools"
fi

: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
# cargo-cyclonedx writes its output beside Cargo.toml only.
beside=sbom-$$
trap 'rm -f "$beside.json"' EXIT
"$cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --all --no-build-deps --target "$target" --override-filename "$beside"
# The output must not contain a path of the build machine.
sed "s|path+file://$PWD|path+file:///vllm-roofline-exporter|g" "$beside.json" >"$file"

# Every crate that cargo links must be in the output.
linked() { cargo tree --locked --edges normal --target "$target" --prefix none | sed 's/ v\([^ ]*\).*/ \1/' | sort -u; }
listed() { jq -r '.metadata.component, .components[] | "\(.name) \(.version)"' "$file" | sort -u; }
missing=$(comm -23 <(linked) <(listed))
if [ -n "$missing" ]; then
  echo "sbom.sh: $file lacks $missing" >&2
  exit 1
fi
echo "$file: $(listed | wc -l) components"
