#!/usr/bin/env bash
# The tests and lints of modules/ and guest-sdk/, which are not in the root workspace. Bindings are
# derived by the program `roadstead` (ROADSTEAD_BIN, else that of a debug build).
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/modules"
cargo fmt --all --check
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
cargo test --quiet --workspace --locked
cd "$root"
.venv/bin/python -m pytest -q modules/reward
export ROADSTEAD_BIN=${ROADSTEAD_BIN:-$root/target/debug/roadstead}
(cd guest-sdk/python && ../../.venv/bin/python -m mypy)
.venv/bin/python -m pytest -q guest-sdk/python
.venv/bin/python -m pytest -q modules/linalg
