#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/fetch.sh NAME
# Puts the Debian cloud kernel NAME (see kernels.sh) into the cache, unless it is
# there, and prints its folder: vmlinuz, the network modules under lib/modules with
# modules.dep, and the file "package" with the build. If no mirror has it, the last line
# of the output lists the attempts.
#
# EBPF_TCP_KERNELS  the cache (default: ebpf-tcp-kernels in the user's cache folder)
set -euo pipefail
cd "$(dirname "$0")"
. ./kernels.sh
topic=kernels
. ../apt.sh

name=$1
arch=$(kernel_arch "$name")
version=$(kernel_version "$name")
pattern=$(kernel_package "$version" "$arch") || {
	say "no kernel is named $name; there are ${kernel_names[*]}"
	exit 2
}
open_cache "$version-$arch"
folder=$cache/$version-$arch
if [ -e "$folder/package" ]; then
	echo "$folder"
	exit
fi
command -v apt-get >/dev/null || {
	say "$name: this is not Debian: put vmlinuz, lib/modules and a file 'package' into $folder"
	exit 1
}
work=$cache/fetch-$version-$arch
trap 'rm -rf "$work"' EXIT

# download: gets the newest build that some mirror still has. A mirror can list a build
# and lack it.
tried=()
download() {
	local mirror image suites
	read -ra suites <<<"$(kernel_suites "$version")"
	while read -r mirror; do
		say "$name: reading ${suites[*]} of ${mirror% *}"
		read_lists "$work" "$arch" "$mirror" "${suites[@]}"
		mapfile -t images < <(apt_search "$pattern")
		[ ${#images[@]} -gt 0 ] || tried+=("no $pattern at ${mirror% *}")
		for image in "${images[@]}"; do
			say "$name: downloading $image"
			rm -f "$work"/*.deb
			# shellcheck disable=SC2046 # there may be no package of modules
			(cd "$work" && apt_get download "$image" $(modules_package "$image")) && return
			tried+=("$image at ${mirror% *}")
		done
	done < <(mirrors)
	return 1
}
download || {
	say "$name: can't be downloaded; tried: $(printf '%s; ' "${tried[@]}")"
	exit 1
}

# The kernel, and its network modules.
rm -rf "$folder"
mkdir -p "$folder/lib"
for deb in "$work"/*.deb; do
	# tar complains about each pattern that one of the packages has no file for.
	unpack_deb "$deb" "$work/unpacked" --wildcards --no-anchored \
		'vmlinuz*' 'kernel/net/*' 'kernel/lib/*' 'kernel/crypto/*' \
		'veth.ko*' 'tun.ko*' 'bonding.ko*' 'vxlan.ko*' 'ifb.ko*' 'modules.builtin*' 'modules.order' \
		2>/dev/null || true
done
find "$work/unpacked" -name 'vmlinuz*' -type f -exec cp {} "$folder/vmlinuz" \;
tree=$(find "$work/unpacked" -type d -path '*/lib/modules' -print -quit)
cp -r "$tree" "$folder/lib/"
find "$folder/lib" -name 'vmlinuz*' -delete
find "$folder/lib" -name '*.ko.xz' -exec xz -d {} +
find "$folder/lib" -name '*.ko.zst' -exec zstd -dq --rm {} +
for release in "$folder"/lib/modules/*; do
	busybox depmod -b "$folder" "${release##*/}"
done
dpkg-deb -f "$(printf '%s\n' "$work"/linux-{image,binary}*.deb | grep -v '\*' | head -n 1)" Package Version |
	sed 's/^[^:]*: //' | paste -sd ' ' >"$folder/package.new"
mv "$folder/package.new" "$folder/package"
say "$name: $(cat "$folder/package")"
echo "$folder"
