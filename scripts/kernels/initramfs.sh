#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/initramfs.sh NAME KERNEL TOOLS TESTS OUTPUT
# Packs the modules of a kernel's folder (fetch.sh), the programs of a folder of tools
# (tools.sh), the folder of tests (see init) and the kernel's name (kernels.sh) into an
# initramfs.
set -euo pipefail
cd "$(dirname "$0")"
name=$1 kernel=$2 tools=$3 tests=$4 output=$5

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# The guest's root folder. Other users must be able to enter it, too.
chmod 755 "$root"
cp -a "$tools/." "$root/"
mv "$root/bin/busybox" "$root/busybox"
cp -r "$kernel/lib/." "$root/lib/"
cp init "$root/init"
chmod 755 "$root/init"
cp -rL "$tests" "$root/tests"
echo "$name" >"$root/tests/kernel"
(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >"$output"
