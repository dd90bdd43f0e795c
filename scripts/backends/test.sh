#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/backends/test.sh
# Runs the tests of test/backends as root, with the collector EBPF_TCP_COLLECTOR.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH=$PATH:/usr/sbin:/sbin
EBPF_TCP_BACKENDS_BIN=$(scripts/backends/fetch.sh)
export EBPF_TCP_BACKENDS_BIN

root=()
if [ "$(id -u)" != 0 ]; then
	root=(-exec "sudo --preserve-env=PATH,EBPF_TCP_COLLECTOR,EBPF_TCP_BACKENDS_BIN")
fi
go test -C test/backends -count=1 -timeout 10m -tags privileged "${root[@]}" ./...
