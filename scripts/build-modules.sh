#!/usr/bin/env bash
# Builds every module into .build/modules/NAME.wasm, with its spec beside it as NAME.yaml.
# Only what changed is built again. Needs Rust with the targets of rust-toolchain.toml, and the
# Python environment that scripts/setup.sh makes.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/.build/modules
mkdir -p "$out"

RUST_MODULES=(echo text-stats)
PYTHON_MODULES=()

# Copies only what differs, so that the time of an unchanged file stays.
place() { cmp -s "$1" "$2" || cp "$1" "$2"; }

# place_module NAME BUILT-COMPONENT SOURCE-DIRECTORY
place_module() {
  place "$2" "$out/$1.wasm"
  if [ -f "$3/roadstead.yaml" ]; then place "$3/roadstead.yaml" "$out/$1.yaml"; fi
}

build_rust() {
  local packages=() name
  for name in "${RUST_MODULES[@]}"; do packages+=(--package "$name"); done
  (cd "$root/modules" && cargo build --quiet --release --target wasm32-wasip2 "${packages[@]}")
  for name in "${RUST_MODULES[@]}"; do
    local directory=$root/modules/${name/#hostile-/hostile/}
    place_module "$name" "$root/modules/target/wasm32-wasip2/release/${name//-/_}.wasm" "$directory"
  done
}

build_rust

echo "modules in ${out#"$root"/}:"
(cd "$out" && for file in *.wasm; do printf '  %-28s %10d bytes\n' "$file" "$(wc -c <"$file")"; done)
