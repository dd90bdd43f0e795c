#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/run.sh [NAME…]
# Runs the privileged tests on emulated kernels (all of kernels.sh, or those named)
# and on the running one, then prints a table. Needs: qemu-system-x86,
# busybox-static, cpio, nftables; and root, or sudo, for the running kernel ("here").
#
# EBPF_TCP_KERNELS      where kernels are kept (see fetch.sh)
# TEST_KERNELS_OUTPUT   keeps what the kernels said, in that folder
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/kernels/kernels.sh
PATH=$PATH:/usr/sbin:/sbin

names=("$@")
[ ${#names[@]} -gt 0 ] || names=("${kernel_names[@]}" here)
packages=(internal/probe)
# Performance is measured on real machines, and tshark's view of the captures is
# held against the parser by "make test".
arguments="-test.v -test.timeout 8m -test.skip '^TestTCAgreesWithTshark'"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
output=${TEST_KERNELS_OUTPUT:-$work/output}
mkdir -p "$output" "$work/tests"
go build -o "$work/report" ./scripts/kernels/report
for package in "${packages[@]}"; do
	test=$work/tests/${package##*/}
	CGO_ENABLED=0 go test -tags privileged -ldflags '-s -w' -c -o "$test" "./$package"
	echo "$arguments" >"$test.args"
	echo "$package" >"$test.package"
	mkdir -p "$work/tests/src/$package"
	for data in testdata "$package/testdata"; do
		[ ! -d "$data" ] || cp -rT "$data" "$work/tests/src/$data"
	done
done

# The same binaries without an emulator, told in the same words.
run_here() {
	local root=() test
	[ "$(id -u)" = 0 ] || root=(sudo --preserve-env=PATH)
	echo "=== kernel $(uname -r) $(uname -m)"
	for test in "$work"/tests/*; do
		[ -e "$test.args" ] || continue
		echo "=== binary ${test##*/}"
		local code=0
		(cd "$work/tests/src/$(cat "$test.package")" && eval "exec ${root[*]} $test $(cat "$test.args")") 2>&1 || code=$?
		echo "=== exit ${test##*/} $code"
	done
}

run_emulated() {
	local name=$1 folder
	folder=$(scripts/kernels/fetch.sh "$name") || return
	scripts/kernels/initramfs.sh "$folder" "$work/tests" "$work/$name.cpio"
	scripts/kernels/boot.sh "$folder" "$work/$name.cpio" "$output/$name" || {
		echo "kernels: $name did not power off; its console's last lines:" >&2
		tail -n 20 "$output/$name.console" >&2
	}
	rm -f "$work/$name.cpio"
}

results=()
for name in "${names[@]}"; do
	started=$SECONDS
	rm -f "$output/$name"
	if [ "$name" = here ]; then
		run_here >"$output/$name"
	else
		run_emulated "$name" || true
	fi
	echo "kernels: $name took $((SECONDS - started)) s" >&2
	results+=("$name=$output/$name")
done
"$work/report" scripts/kernels/expected.txt "${results[@]}"
