#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/tools.sh ARCH
# Puts the programs that a guest of that architecture needs into the cache, unless
# they are there, and prints the folder: busybox, what tests call, and its libraries.
#
# EBPF_TCP_KERNELS  the cache (default: ebpf-tcp-kernels in the user's cache folder)
set -euo pipefail
cd "$(dirname "$0")"
topic=kernels
. ../apt.sh

arch=$1
suite=bookworm
packages=(busybox-static nftables)
open_cache "tools-$arch"
folder=$cache/tools-$arch
if [ "$(cat "$folder/packages" 2>/dev/null)" = "$suite ${packages[*]}" ]; then
	echo "$folder"
	exit
fi
command -v apt-get >/dev/null || {
	say "tools for $arch: this is not Debian: put ${packages[*]} into $folder" \
		"and '$suite ${packages[*]}' into its file 'packages'"
	exit 1
}
work=$cache/fetch-tools-$arch
trap 'rm -rf "$work"' EXIT

tried=()
download() {
	local mirror
	while read -r mirror; do
		say "tools for $arch: downloading ${packages[*]} of $suite from ${mirror% *}"
		read_lists "$work" "$arch" "$mirror" "$suite"
		apt_get install --yes --download-only "${packages[@]}" && return
		tried+=("${mirror% *}")
	done < <(mirrors)
	return 1
}
download || {
	say "tools for $arch: ${packages[*]} of $suite can't be downloaded; tried: ${tried[*]}"
	exit 1
}
rm -rf "$folder"
for deb in "$work"/archives/*.deb; do
	unpack_deb "$deb" "$folder" --exclude='./usr/share/*' --exclude='*/gconv/*' --exclude='./etc/*'
done
echo "$suite ${packages[*]}" >"$folder/packages"
echo "$folder"
