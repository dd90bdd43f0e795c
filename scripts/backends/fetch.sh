#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/backends/fetch.sh
# Puts the programs that the tests of test/backends need into the cache, unless they are
# there, and prints their folder. VictoriaMetrics and promtool are of Debian sid. Prometheus
# and VictoriaLogs are built, each from a module of its own: Debian has no VictoriaLogs, and
# builds Prometheus without the endpoint for OTLP.
#
# EBPF_TCP_BACKENDS  the cache (default: ebpf-tcp-backends in the user's cache folder)
set -euo pipefail
cd "$(dirname "$0")"
topic=backends
. ../apt.sh
tools=$PWD/../../test/backends/tools

suite=sid
declare -A program_of=([victoria-metrics]=victoria-metrics [promtool]=promtool)
open_cache fetch
bin=$cache/bin
mkdir -p "$bin"

# fetched PACKAGE: reports whether its program is there.
fetched() { [ -x "$bin/${program_of[$1]}" ]; }

# fetch PACKAGE…: of the first mirror that has all of them. Only the programs are kept.
fetch() {
	local mirror package work=$cache/fetch
	trap 'rm -rf "$cache/fetch"' EXIT
	while read -r mirror; do
		say "downloading $* of $suite from ${mirror% *}"
		read_lists "$work" "$(dpkg --print-architecture)" "$mirror" "$suite"
		(cd "$work" && apt_get download "$@") || continue
		for deb in "$work"/*.deb; do
			unpack_deb "$deb" "$work/unpacked" --wildcards './usr/bin/*'
			say "$(dpkg-deb -f "$deb" Package Version | paste -sd ' ')"
		done
		for package in "$@"; do
			install -m 755 "$work/unpacked/usr/bin/${program_of[$package]}" "$bin"
		done
		return
	done < <(mirrors)
	say "no mirror has $* of $suite; put the programs into $bin"
	exit 1
}

# build NAME PROGRAM PACKAGE GO-FLAG…: the tool of test/backends/tools/NAME, once for each
# version of it.
build() {
	local name=$1 program=$2 package=$3 version
	shift 3
	version=$(sha256sum "$tools/$name/go.mod" "$tools/$name/go.sum" | sha256sum | cut -c 1-16)
	if [ ! -x "$cache/$program-$version" ]; then
		say "building $program; the first time takes some minutes"
		CGO_ENABLED=0 go build -C "$tools/$name" "$@" -o "$cache/$program-$version.new" "$package"
		mv "$cache/$program-$version.new" "$cache/$program-$version"
	fi
	ln -sf "../$program-$version" "$bin/$program"
}

missing=()
for package in "${!program_of[@]}"; do
	fetched "$package" || missing+=("$package")
done
[ ${#missing[@]} = 0 ] || fetch "${missing[@]}"
build victorialogs victoria-logs github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs
# Service discovery is most of Prometheus, and of no use here.
build prometheus prometheus github.com/prometheus/prometheus/cmd/prometheus -tags remove_all_sd
echo "$bin"
