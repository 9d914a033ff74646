#!/usr/bin/env bash
# Builds etcd, kube-apiserver and kube-controller-manager of a version, such as 1.37.2, into $CONTROL_PLANE/VERSION. The module
# k8s.io/kubernetes replaces its staging modules by directories that its archive lacks; they are published as modules of their own.
set -euo pipefail

version=$1
target=$CONTROL_PLANE/$version
if [ -x "$target/kube-controller-manager" ]; then exit 0; fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export GOFLAGS=-mod=mod GOWORK=off
sources=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/^\t"GoMod": "\(.*\)",$/\1/p')
{
  echo "module control-plane"
  awk '$1 == "go" { print }' "$sources"
  echo "require k8s.io/kubernetes v$version"
  awk -v version="v0.${version#1.}" '/=> \.\/staging/ { sub(/^replace /, ""); print "replace", $1, "=>", $1, version }' "$sources"
} >go.mod
cat >programs.go <<'GO'
//go:build tools

package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
)
GO
go mod tidy
minor=${version#1.}
package=k8s.io/component-base/version
mkdir -p out
go build -trimpath -ldflags "-s -w -X $package.gitVersion=v$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}" -o out/ \
  k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kube-controller-manager go.etcd.io/etcd/server/v3
mv out/server out/etcd
mkdir -p "$target"
mv out/* "$target"
