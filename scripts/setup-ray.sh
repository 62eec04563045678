#!/usr/bin/env bash
# Installs Ray into .venv-ray, for the benchmark's comparison alone. Does nothing where it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
RAY=2.60.0 NUMPY=2.4.6
mark=.venv-ray/installed-$RAY-numpy-$NUMPY
if [ ! -f "$mark" ]; then
  echo "installing ray $RAY with numpy $NUMPY into .venv-ray" >&2
  rm -rf .venv-ray
  "${PYTHON:-python3}" -m venv .venv-ray
  .venv-ray/bin/pip install --quiet --disable-pip-version-check "ray==$RAY" "numpy==$NUMPY"
  touch "$mark"
fi
