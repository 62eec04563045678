#!/usr/bin/env bash
# The tests and lints of modules/ and guest-sdk/, which are not in the root workspace.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root/modules"
cargo fmt --all --check
cargo clippy --quiet --workspace --all-targets --locked -- -D warnings
cargo test --quiet --workspace --locked
cd "$root"
.venv/bin/python -m pytest -q modules/reward
.venv/bin/python -m pytest -q guest-sdk/python
