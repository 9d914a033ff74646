#!/usr/bin/env bash
# Installs, applies and injects the contents of deploy/ in a real Kubernetes control plane: etcd, kube-apiserver and
# kube-controller-manager, built from source (needs Go; seven minutes per version on two idle cores), no kubelet. By hand and in its own
# workflow:
#
#   tests/control-plane.sh                       # both versions
#   KUBERNETES=1.37.2 tests/control-plane.sh test_pods
#
# Programs and CRDs are kept in $CONTROL_PLANE (target/control-plane); existing ones are not fetched again.
set -euo pipefail
cd "$(dirname "$0")/.."

export CONTROL_PLANE=${CONTROL_PLANE:-$PWD/target/control-plane}
tools=$PWD/target/deploy-tools
tests/deploy.sh test_checker

mkdir -p "$CONTROL_PLANE/crds"
while read -r name url; do
  case $name in '' | '#'*) continue ;; esac
  if [ ! -s "$CONTROL_PLANE/crds/$name.yaml" ]; then
    curl --fail --silent --show-error --location --retry 3 --output "$CONTROL_PLANE/crds/$name.yaml" "$url"
  fi
done <tests/control_plane/crds.txt

for version in ${KUBERNETES:-1.31.13 1.37.2}; do
  tests/control_plane/build.sh "$version"
  echo "Kubernetes $version"
  (cd tests/control_plane && PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1 KUBERNETES=$version python -m unittest "$@")
done
