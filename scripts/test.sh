#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/test.sh unprivileged|privileged
# Runs the tests and prints a summary. Privileged tests carry the build tag of that
# name and run as root, one package after the other, because they look at what the
# whole kernel holds.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH=$PATH:/usr/sbin:/sbin
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
go build -o "$summary" ./scripts/testsummary

case $1 in
unprivileged)
	# The race detector needs a C compiler; nothing else here does.
	CGO_ENABLED=1 go test -race -count=1 -json ./... | "$summary" "$1"
	;;
privileged)
	mapfile -t packages < <(grep -rlE '^//go:build .*privileged' --include='*_test.go' . |
		xargs -r dirname | sort -u)
	if [ ${#packages[@]} = 0 ]; then
		echo "no privileged tests found" >&2
		exit 1
	fi
	root=()
	if [ "$(id -u)" != 0 ]; then
		root=(-exec "sudo --preserve-env=PATH,EBPF_TCP_COLLECTOR,EBPF_TCP_PCAPS")
	fi
	go test -count=1 -json -p 1 -timeout 20m -tags privileged "${root[@]}" "${packages[@]}" |
		"$summary" "$1"
	;;
*)
	echo "usage: $0 unprivileged|privileged" >&2
	exit 2
	;;
esac
