#!/usr/bin/env bash
# Builds Consul's program from its Go module into the cache, for tests, and prints
# its path, for CONCLAVE_TEST_CONSUL. The first time takes several minutes; LIMIT bounds them in seconds.
set -euo pipefail
version=v1.21.0
cache=${XDG_CACHE_HOME:-$HOME/.cache}/conclave-test/consul-$version
if [ ! -x "$cache/consul" ]; then
  mkdir -p "$cache"
  cd "$cache"
  printf 'module consul.test\n\ngo 1.26\n' >go.mod
  # Consul's own go.sum verifies the modules that the checksum database lacks.
  cp "$(go mod download -json "github.com/hashicorp/consul@$version" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')/go.sum" go.sum
  chmod u+w go.sum
  CGO_ENABLED=0 timeout "${LIMIT:-1200}" sh -c "go get github.com/hashicorp/consul@$version && go build -ldflags '-s -w' -o consul.$$ github.com/hashicorp/consul" >build.log 2>&1 ||
    { tail -n 5 build.log >&2; exit 1; }
  mv "consul.$$" consul
fi
echo "$cache/consul"
