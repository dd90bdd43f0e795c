#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/fetch.sh NAME [ARCH]
# Puts the Debian cloud kernel NAME (see kernels.sh) into the cache, unless it is
# there, and prints its folder: vmlinuz, the network modules under lib/modules with
# modules.dep, and the file "package" that tells the build.
#
# Nothing of the system's package lists changes: apt runs on lists, sources and a
# cache of its own. The mirrors are those that the system uses, with other suites.
#
# EBPF_TCP_KERNELS  the cache (default: ebpf-tcp-kernels in the user's cache folder)
set -euo pipefail
cd "$(dirname "$0")"
. ./kernels.sh

name=$1
arch=${2:-$(dpkg --print-architecture)}
cache=${EBPF_TCP_KERNELS:-${XDG_CACHE_HOME:-$HOME/.cache}/ebpf-tcp-kernels}
folder=$cache/$name-$arch
say() { echo "kernels: $*" >&2; }

if [ -e "$folder/package" ]; then
	echo "$folder"
	exit
fi
command -v apt-get >/dev/null || {
	say "this is not Debian: put vmlinuz, lib/modules and a file 'package' into $folder"
	exit 1
}

work=$cache/fetch-$name-$arch
mkdir -p "$work"/{lists/partial,archives/partial,unpacked}

# The system's own repositories: the one with the distribution, and its security one.
repository() {
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
		awk -v security="$1" '($2 ~ /-security$/) == security && $1 ~ /debian/ { print $1; exit }'
}
main=$(repository 0)
security=$(repository 1)
[ -n "$main" ] || {
	say "apt names no repository of Debian's"
	exit 1
}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
for suite in $(kernel_suites "$name"); do
	case $suite in
	*-security) uri=$security ;;
	*) uri=$main ;;
	esac
	[ -z "$uri" ] || echo "deb [arch=$arch signed-by=$keyring] $uri $suite main"
done >"$work/sources.list"

cat >"$work/apt.conf" <<CONF
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear Acquire::IndexTargets::deb::DEP-11;
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::Etc::sourcelist "$work/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::State::lists "$work/lists";
Dir::State::status "/dev/null";
Dir::Cache "$work";
Dir::Cache::archives "$work/archives";
CONF
apt_get() { apt-get -qq -c "$work/apt.conf" "$@" >&2; }

say "$name $arch: reading the package lists of $(kernel_suites "$name")"
# One suite of several may be gone from the mirrors; what is not found says so below.
apt_get update || say "$name $arch: some package lists could not be read"
mapfile -t images < <(apt-cache -c "$work/apt.conf" search --names-only "$(kernel_package "$name" "$arch")" |
	cut -d ' ' -f 1 | sort -rV)
[ ${#images[@]} -gt 0 ] || {
	say "$name $arch: no package matches $(kernel_package "$name" "$arch")"
	exit 1
}

# A build that is listed can be gone from the pool.
for image in "${images[@]}"; do
	modules=$(modules_package "$image")
	rm -f "$work"/*.deb
	say "$name $arch: downloading $image"
	if (cd "$work" && apt_get download "$image" ${modules:+"$modules"}); then
		break
	fi
	say "$name $arch: $image is gone, trying an older one"
	image=
done
[ -n "$image" ] || {
	say "$name $arch: none of ${images[*]} could be downloaded"
	exit 1
}

# The kernel, and of its modules those that make a network.
rm -rf "$work/unpacked" "$folder"
mkdir -p "$work/unpacked" "$folder/lib"
for deb in "$work"/*.deb; do
	dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$work/unpacked" --wildcards --no-anchored \
		'vmlinuz*' 'kernel/net/*' 'kernel/lib/*' 'kernel/crypto/*' \
		'veth.ko*' 'tun.ko*' 'bonding.ko*' 'vxlan.ko*' 'ifb.ko*' 'modules.builtin*' 'modules.order' \
		2>/dev/null || true # tar's complaint about a pattern that a package has no file for
done
find "$work/unpacked" -name 'vmlinuz*' -type f -exec cp {} "$folder/vmlinuz" \;
tree=$(find "$work/unpacked" -type d -path '*/lib/modules' -print -quit)
cp -r "$tree" "$folder/lib/"
find "$folder/lib" -name '*.ko.xz' -exec xz -d {} +
find "$folder/lib" -name '*.ko.zst' -exec zstd -dq --rm {} +
for version in "$folder"/lib/modules/*; do
	busybox depmod -b "$folder" "${version##*/}"
done
dpkg-deb -f "$(printf '%s\n' "$work"/linux-{image,binary}*.deb | grep -v '\*' | head -n 1)" Package Version |
	sed 's/^[^:]*: //' | paste -sd ' ' >"$folder/package.new"
rm -rf "$work"
mv "$folder/package.new" "$folder/package"
say "$name $arch: $(cat "$folder/package")"
echo "$folder"
