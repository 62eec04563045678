#!/usr/bin/env bash
# Holds every dependency against deny.toml: bans, licences and sources.
set -euo pipefail
cd "$(dirname "$0")/.."
VERSION=0.20.2
if ! .tools/bin/cargo-deny --version 2>/dev/null | grep -qF "$VERSION"; then
    echo "installing cargo-deny $VERSION into .tools" >&2
    cargo install --quiet --locked --debug --root .tools --target-dir .tools/target "cargo-deny@$VERSION"
    rm -rf .tools/target
fi
.tools/bin/cargo-deny --log-level error check bans licenses sources
