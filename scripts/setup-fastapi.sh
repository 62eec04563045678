#!/usr/bin/env bash
# Installs FastAPI and what serves it into .venv-fastapi, for the benchmark's comparison alone. Does
# nothing where it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(fastapi==0.165.0 uvicorn==0.54.0 grpcio==1.85.1 protobuf==7.36.2 numpy==2.4.6)
mark=.venv-fastapi/installed-$(echo "${packages[@]}" | cksum | cut -d' ' -f1)
if [ ! -f "$mark" ]; then
  echo "installing ${packages[*]} into .venv-fastapi" >&2
  rm -rf .venv-fastapi
  "${PYTHON:-python3}" -m venv .venv-fastapi
  .venv-fastapi/bin/pip install --quiet --disable-pip-version-check "${packages[@]}"
  touch "$mark"
fi
