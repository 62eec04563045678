#!/usr/bin/env bash
# The tests of modules/learner.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
scripts/setup-jax.sh
export ROADSTEAD_BIN=${ROADSTEAD_BIN:-$root/target/debug/roadstead}
.venv-jax/bin/python -m pytest -q modules/learner
