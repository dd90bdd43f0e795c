#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/deps.sh [test] [kernels] [systemd] [bench] [lint] [generate]
# Prints, then installs, the Debian packages that the named tasks still need.
# With SKIP_DEPS=1 it installs nothing: it lists what is missing and exits with 1.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.env
PATH=$PATH:/usr/sbin:/sbin

# Most tasks need a command, whichever package has it; some need an exact version.
missing=()
command_from() { command -v "$1" >/dev/null || missing+=("$2"); }
exactly() {
	[ "$(dpkg-query -W -f '${Version}' "$1" 2>/dev/null)" = "$2" ] || missing+=("$1=$2")
}

for task in "${@:-test}"; do
	case $task in
	test)
		command_from make make
		command_from gcc gcc
		[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
		command_from nginx nginx-light
		command_from ab apache2-utils
		command_from h2load nghttp2-client
		command_from nghttpd nghttp2-server
		command_from apache2 apache2-bin
		command_from curl curl
		command_from ip iproute2
		command_from ss iproute2
		command_from nft nftables
		command_from nmap nmap
		command_from hydra hydra
		command_from slowhttptest slowhttptest
		command_from hping3 hping3
		command_from sshd openssh-server
		command_from cscli crowdsec
		command_from fail2ban-server fail2ban
		command_from tshark tshark
		command_from xmllint libxml2-utils
		command_from wrk wrk
		command_from haproxy haproxy
		command_from openssl openssl
		;;
	kernels)
		command_from qemu-system-x86_64 qemu-system-x86
		command_from qemu-system-aarch64 qemu-system-arm
		command_from busybox busybox-static
		command_from cpio cpio
		command_from xz xz-utils
		command_from zstd zstd
		;;
	systemd)
		command_from systemd-analyze systemd
		;;
	bench)
		command_from make make
		command_from nginx nginx-light
		command_from wrk wrk
		command_from curl curl
		command_from ip iproute2
		command_from ss iproute2
		command_from tcplife libbpf-tools
		command_from bpftrace bpftrace
		;;
	lint)
		command_from clang-format-19 clang-format-19
		;;
	generate)
		exactly "$CLANG_PACKAGE" "$CLANG_VERSION"
		exactly "$LIBBPF_PACKAGE" "$LIBBPF_VERSION"
		command_from llvm-strip-19 llvm-19
		;;
	*)
		echo "deps: no task named $task: test, kernels, systemd, bench, lint or generate" >&2
		exit 2
		;;
	esac
done

[ ${#missing[@]} -gt 0 ] || exit 0
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
echo "deps: missing Debian packages: ${missing[*]}"
if [ "${SKIP_DEPS:-}" = 1 ]; then
	echo "deps: SKIP_DEPS=1 forbids installing them" >&2
	exit 1
fi
if ! command -v apt-get >/dev/null; then
	echo "deps: this is not Debian: install what these packages contain" >&2
	exit 1
fi

elevate=()
if [ "$(id -u)" != 0 ]; then
	elevate=(sudo)
	echo "deps: installing them with sudo"
fi

# 101 forbids the packages' scripts to start services.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' | "${elevate[@]}" tee $policy >/dev/null
	"${elevate[@]}" chmod 755 $policy
	trap '"${elevate[@]}" rm -f $policy' EXIT
fi
# A file with credentials, even without any, keeps the package from registering at a central API.
central=/etc/crowdsec/online_api_credentials.yaml
case " ${missing[*]} " in
*" crowdsec "*)
	"${elevate[@]}" mkdir -p ${central%/*}
	[ -s $central ] || echo '# not registered' | "${elevate[@]}" tee $central >/dev/null
	;;
esac
"${elevate[@]}" apt-get update -qq
"${elevate[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get install -y -qq --no-install-recommends "${missing[@]}"

# Nor at the next boot: only the program is needed.
for service in nginx-light:nginx crowdsec:crowdsec fail2ban:fail2ban; do
	case " ${missing[*]} " in
	*" ${service%:*} "*)
		! command -v systemctl >/dev/null || "${elevate[@]}" systemctl --quiet disable "${service#*:}.service"
		;;
	esac
done
