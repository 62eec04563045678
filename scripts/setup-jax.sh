#!/usr/bin/env bash
# Installs JAX and what modules/learner takes into .venv-jax, an environment of its own: it is far
# larger than all else.
set -euo pipefail
cd "$(dirname "$0")/.."
[ -x .venv-jax/bin/python ] || "${PYTHON:-python3}" -m venv .venv-jax
.venv-jax/bin/python -m pip install --quiet --disable-pip-version-check \
  -r modules/learner/requirements.txt -r scripts/requirements.txt -e "guest-sdk/python[native,test]"
