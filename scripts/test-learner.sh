#!/usr/bin/env bash
# The tests of modules/learner, in an environment of its own: JAX is far larger than all else.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
python=${PYTHON:-python3}
venv=$root/.venv-jax
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  -r modules/learner/requirements.txt -r scripts/requirements.txt -e "guest-sdk/python[native,test]"
export ROADSTEAD_BIN=${ROADSTEAD_BIN:-$root/target/debug/roadstead}
"$venv/bin/python" -m pytest -q modules/learner
