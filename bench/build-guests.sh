#!/usr/bin/env bash
# Builds what the benchmarks call into .build/bench/{rust,session,flow,through,python}.wasm, and with --javascript (which
# needs npm, and fetches 400 MB once) javascript.wasm too. Only what changed is built again. Needs
# what scripts/build-modules.sh needs.
set -euo pipefail
cd "$(dirname "$0")/.."
out=.build/bench
guests=bench/guests
mkdir -p "$out"

# Copies only what differs, so that the time of an unchanged file stays.
place() { cmp -s "$1" "$2" || cp "$1" "$2"; }

# changed NAME INPUT...: whether NAME.wasm is missing or was made from other inputs
changed() {
  local name=$1
  inputs=$(cksum "${@:2}")
  ! [ -f "$out/$name.wasm" ] || [ "$(cat "$out/$name.inputs" 2>/dev/null)" != "$inputs" ]
}

built() { echo "$inputs" >"$out/$1.inputs"; }

(cd modules && cargo build --quiet --release --target wasm32-wasip2 \
  --package bench-work --package bench-session --package bench-flow --package bench-through)
built_rust=modules/target/wasm32-wasip2/release
place $built_rust/bench_work.wasm "$out/rust.wasm"
place $built_rust/bench_session.wasm "$out/session.wasm"
place $built_rust/bench_flow.wasm "$out/flow.wasm"
place $built_rust/bench_through.wasm "$out/through.wasm"

if changed python $guests/python/work.py $guests/wit/work.wit guest-sdk/python/pyproject.toml; then
  .venv/bin/roadstead-componentize $guests/wit $guests/python/work.py --world transfers \
    -o "$out/python.wasm"
  built python
fi

javascript=$guests/javascript
javascript_inputs=("$javascript"/{package.json,build.mjs,work.js} "$guests/wit/work.wit")
if [ "${1:-}" = --javascript ] && changed javascript "${javascript_inputs[@]}"; then
  if ! command -v npm >/dev/null; then
    echo "no npm: the benchmarks go without their JavaScript guest" >&2
    exit 0
  fi
  echo "installing componentize-js into $javascript/node_modules" >&2
  (cd $javascript && npm install --no-save --no-audit --no-fund --loglevel=error --package-lock=false \
    --ignore-scripts >&2)
  node $javascript/build.mjs $guests/wit $javascript/work.js "$out/javascript.wasm"
  built javascript
fi
