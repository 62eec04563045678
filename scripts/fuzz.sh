#!/usr/bin/env bash
# Feeds the fuzzed functions (tests/fuzz) with inputs that libFuzzer makes, each target for
# FUZZ_SECONDS (20), beginning from the kept inputs. Arguments name the targets; `push` is not among
# those that run without, because the whole host is compiled for it. `minimize TARGET...` takes what
# was found into the kept inputs, as few and as small as cover the same.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=0.13.2
TARGETS=(codec compiled component)
SECONDS_EACH=${FUZZ_SECONDS:-20}
FUZZ=tests/fuzz/libfuzzer
OUT=$PWD/target/fuzz

if ! .tools/bin/cargo-fuzz --version 2>/dev/null | grep -qF "$VERSION"; then
    echo "installing cargo-fuzz $VERSION into .tools" >&2
    cargo install --quiet --locked --debug --root .tools --target-dir .tools/target "cargo-fuzz@$VERSION"
    rm -rf .tools/target
fi

# Instrumentation alone needs no nightly compiler, but rustc asks for this.
export RUSTC_BOOTSTRAP=1
# A host's memory and patience: what takes more is a finding.
LIMITS=(-rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -max_len=65536)

fuzz() { # fuzz VERB TARGET ARGS...
    local verb=$1 target=$2 features=()
    shift 2
    if [ "$target" = push ]; then features=(--features push); fi
    .tools/bin/cargo-fuzz fuzz "$verb" --fuzz-dir "$FUZZ" --target-dir "$OUT" --sanitizer none \
        --dev "${features[@]}" "$target" "$@"
}

minimize() { # minimize TARGET...
    local target kept
    for target in "$@"; do
        kept=$(mktemp -d)
        fuzz run "$target" "$kept" "$OUT/corpus/$target" "tests/fuzz/corpus/$target" -- -merge=1 "${LIMITS[@]}"
        rm -rf "tests/fuzz/corpus/$target"
        mv "$kept" "tests/fuzz/corpus/$target"
        chmod 755 "tests/fuzz/corpus/$target"
    done
}

if [ "${1:-}" = minimize ]; then
    shift
    minimize "${@:-${TARGETS[@]}}"
    exit
fi
for target in "${@:-${TARGETS[@]}}"; do
    mkdir -p "$OUT/corpus/$target" "$OUT/findings/$target" "tests/fuzz/corpus/$target"
    echo "fuzzing $target for $SECONDS_EACH s" >&2
    # What is new goes to the first folder, findings to the other.
    if ! fuzz run "$target" "$OUT/corpus/$target" "tests/fuzz/corpus/$target" -- \
        -max_total_time="$SECONDS_EACH" -artifact_prefix="$OUT/findings/$target/" \
        -print_final_stats=1 -verbosity=0 "${LIMITS[@]}" 2>"$OUT/$target.log"; then
        tail -n 60 "$OUT/$target.log" >&2
        echo "$target failed; the input is in $OUT/findings/$target. Mend it, and keep it in" \
            "tests/fuzz/corpus/$target so that it stays mended" >&2
        exit 1
    fi
    grep -E "stat::number_of_executed_units|stat::average_exec_per_sec" "$OUT/$target.log" >&2 || true
done
