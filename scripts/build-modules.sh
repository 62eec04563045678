#!/usr/bin/env bash
# Builds every module into .build/modules/NAME.wasm, with its spec beside it as NAME.yaml.
# Only what changed is built again. Needs Rust with the targets of rust-toolchain.toml, and the
# Python environment that scripts/setup.sh makes.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/.build/modules
mkdir -p "$out"

RUST_MODULES=(
  csv-reader echo kv-filter linalg-small regression running-stats text-stats thumbnail
  hostile-log-flood hostile-memory-bomb hostile-output-flood hostile-recursion hostile-spin hostile-streams
  hostile-trap
)
# Each is modules/hostile/NAME/NAME.wat.
WAT_MODULES=(table-bomb)
# Each is modules/NAME/NAME.py with its WIT in modules/NAME/wit.
PYTHON_MODULES=(moving-average reward)

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

build_wat() {
  local directory=$root/modules/hostile/$1 built=$root/.build/wat/$1.wasm
  mkdir -p "$root/.build/wat"
  if [ "$directory/$1.wat" -nt "$built" ]; then
    (cd "$root/modules" && cargo run --quiet --package wat-to-wasm -- "$directory/$1.wat" "$built")
  fi
  place_module "hostile-$1" "$built" "$directory"
}

# componentize-py takes a while, so a module is built only when what it is made from has changed.
build_python() {
  local name=$1 directory=$root/modules/$1 inputs
  local built=$root/.build/python/$name.wasm stamp=$root/.build/python/$name.inputs
  mkdir -p "$root/.build/python"
  inputs=$(
    cd "$root"
    find "modules/$name" guest-sdk/python/src/roadstead_guest \( -name '*.py' -o -name '*.wit' \) \
      -not -path '*/tests/*' -print0 | LC_ALL=C sort -z | xargs -0 cksum
    grep componentize-py guest-sdk/python/pyproject.toml
  )
  if [ "$(cat "$stamp" 2>/dev/null)" != "$inputs" ] || ! [ -f "$built" ]; then
    "$root/.venv/bin/roadstead-componentize" "$directory/wit" "$directory/${name//-/_}.py" -o "$built"
    echo "$inputs" >"$stamp"
  fi
  place_module "$name" "$built" "$directory"
}

build_rust
for name in "${WAT_MODULES[@]}"; do build_wat "$name"; done
for name in "${PYTHON_MODULES[@]}"; do build_python "$name"; done

echo "modules in ${out#"$root"/}:"
(cd "$out" && for file in *.wasm; do printf '  %-28s %10d bytes\n' "$file" "$(wc -c <"$file")"; done)
