#!/usr/bin/env bash
# Installs what a fresh machine lacks: the targets of rust-toolchain.toml, and a Python environment
# in .venv with the packages of scripts/requirements.txt and guest-sdk/python. Does nothing where
# that is done already. Needs Rust, Python 3.11 or newer (PYTHON names another than python3) and a C
# compiler.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
python=${PYTHON:-python3}
venv=$root/.venv

fail() {
  echo "setup: $*" >&2
  exit 1
}

command -v cargo >/dev/null || fail "cargo is missing: install Rust from https://rustup.rs"
command -v cc >/dev/null || fail "no C compiler (cc): install gcc or clang"
command -v "$python" >/dev/null || fail "$python is missing: install Python 3.11 or newer, or set PYTHON"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old: install Python 3.11 or newer, or set PYTHON"

# A toolchain that rustup manages brings its targets by itself; one that it does not may lack them.
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/wasm32-wasip2" ]; then
  command -v rustup >/dev/null || fail "this Rust has no target wasm32-wasip2, and no rustup to add it"
  rustup target add wasm32-wasip2
fi

# What the environment is made from; another sum, and it is brought up to date.
stamp=$venv/.roadstead
wanted=$({ "$python" --version && cat scripts/requirements.txt guest-sdk/python/pyproject.toml; } | cksum)
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$venv/bin/python" -c '' 2>/dev/null; then
  exit 0
fi

echo "setup: Python environment in .venv"
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv" ||
  fail "no virtual environment: on Debian, apt-get install python3-venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
  -r scripts/requirements.txt -e "guest-sdk/python[guest,native,test]"
echo "$wanted" >"$stamp"
