#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/initramfs.sh KERNEL TOOLS TESTS OUTPUT
# Packs the modules of a kernel's folder (fetch.sh), the programs of a folder of tools
# (tools.sh) and the folder of tests (see init) into an initramfs.
set -euo pipefail
cd "$(dirname "$0")"
kernel=$1 tools=$2 tests=$3 output=$4

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
# The guest's root folder, which not only root has to enter.
chmod 755 "$root"
cp -a "$tools/." "$root/"
mv "$root/bin/busybox" "$root/busybox"
cp -r "$kernel/lib/." "$root/lib/"
cp init "$root/init"
chmod 755 "$root/init"
cp -rL "$tests" "$root/tests"
(cd "$root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >"$output"
