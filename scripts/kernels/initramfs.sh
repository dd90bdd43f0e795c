#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/initramfs.sh FOLDER TESTS OUTPUT
# Packs the modules of a kernel's FOLDER (fetch.sh), the static test binaries in
# TESTS, busybox, and the tools that tests call, into an initramfs.
set -euo pipefail
cd "$(dirname "$0")"
PATH=$PATH:/usr/sbin:/sbin
folder=$1 tests=$2 output=$3

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# Tests that run as another user than root look for /proc from here.
chmod 755 "$root"
mkdir -p "$root/usr/sbin"
cp init "$root/init"
chmod 755 "$root/init"
cp "$(command -v busybox)" "$root/busybox"
cp -r "$tests" "$root/tests"
cp -r "$folder/lib" "$root/lib"

# With the libraries that it is linked to, where it looks for them.
for tool in nft; do
	path=$(command -v "$tool")
	cp -L "$path" "$root/usr/sbin/"
	ldd "$path" | grep -oE '/[^ ]+' | while read -r library; do
		mkdir -p "$root${library%/*}"
		cp -L "$library" "$root$library"
	done
done
(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >"$output"
