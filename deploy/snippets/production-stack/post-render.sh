#!/bin/sh
# A Helm post-renderer: standard input with the sidecar added, to standard output. Needs kubectl. Helm 3 takes this file by its path,
# Helm 4 the plugin in this directory.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
components=${ROOFLINE_COMPONENTS:-$here/../../kustomize}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -R "$components/sidecar" "$components/gpu-${ROOFLINE_GPU:-dcgm}" "$work"
cat >"$work/rendered.yaml"
cat >"$work/kustomization.yaml" <<END
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization
resources: [rendered.yaml]
components: [sidecar, gpu-${ROOFLINE_GPU:-dcgm}]
END
kubectl kustomize "$work"
