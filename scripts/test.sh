#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/test.sh unprivileged|privileged|refused|soak
# Runs the tests and prints a summary. Privileged tests have the build tag of that name
# and run as root. They run one package after the other, because they check what the
# whole kernel holds. "refused" runs those that need socket hooks, as if the kernel
# refused EBPF_TCP_TEST_EXCLUDE_HOOKS, such as iter/bpf_map_elem,fentry/*. "soak" runs
# the soak test for EBPF_TCP_SOAK, such as 10m.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
PATH=$PATH:/usr/sbin:/sbin
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
go build -o "$summary" ./scripts/testsummary

root=()
if [ "$(id -u)" != 0 ]; then
	root=(-exec "sudo --preserve-env=PATH,EBPF_TCP_COLLECTOR,EBPF_TCP_PCAPS,EBPF_TCP_SOAK,EBPF_TCP_TEST_EXCLUDE_HOOKS")
fi

case $1 in
unprivileged)
	# The race detector needs a C compiler; nothing else here does.
	{
		status=0
		for module in . internal/tools connector/threats/coraza; do
			CGO_ENABLED=1 go test -C "$module" -race -count=1 -json ./... || status=1
		done
		exit $status
	} | "$summary" "$1"
	;;
privileged)
	mapfile -t packages < <(privileged_packages .)
	if [ ${#packages[@]} = 0 ]; then
		echo "no privileged tests found" >&2
		exit 1
	fi
	go test -count=1 -json -p 1 -timeout 20m -tags privileged "${root[@]}" "${packages[@]}" |
		"$summary" "$1"
	;;
refused)
	: "${EBPF_TCP_TEST_EXCLUDE_HOOKS:?lists the hooks to do without}"
	tests=(go test -count=1 -json -p 1 -timeout 20m -tags privileged "${root[@]}")
	# Packet programs need no socket hooks.
	mapfile -t packages < <(privileged_packages ./internal | grep -vE '/probe/(tc|packets)(/|$)')
	{
		status=0
		"${tests[@]}" -skip '^TestTC.*' "${packages[@]}" || status=1
		"${tests[@]}" -run '^Test(Ledger|Connections|OpenBeforeAndAfter|Queues)$' ./test/e2e || status=1
		exit $status
	} | "$summary" "$1"
	;;
soak)
	go test -count=1 -v -timeout 0 -tags privileged,soak "${root[@]}" -run '^TestSoak$' ./test/e2e
	;;
*)
	echo "usage: $0 unprivileged|privileged|refused|soak" >&2
	exit 2
	;;
esac
