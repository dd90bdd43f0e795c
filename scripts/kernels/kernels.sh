# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The kernels of the matrix; sourced. A name is a version and, except for amd64, Debian's
# name of the architecture. Each has the Debian suites that can hold it, and the package
# with vmlinuz as an extended regular expression. If several builds match, the newest
# available one is used.

# shellcheck disable=SC2034 # used by the scripts that source this
kernel_names=(5.10 6.1 6.12 7.2 5.10-arm64 6.12-arm64)

kernel_version() { echo "${1%%-*}"; }

kernel_arch() {
	case $1 in
	*-*) echo "${1#*-}" ;;
	*) echo amd64 ;;
	esac
}

# kernel_suites VERSION
kernel_suites() {
	case $1 in
	5.10) echo "bullseye bullseye-security" ;;
	6.1) echo "bookworm bookworm-security" ;;
	6.12) echo "trixie trixie-security" ;;
	7.2) echo "sid" ;;
	*) return 1 ;;
	esac
}

# kernel_package VERSION ARCH
kernel_package() {
	case $1 in
	5.10 | 6.1) echo "^linux-image-${1//./\\.}\\.0-[0-9]+-cloud-$2-unsigned\$" ;;
	6.12) echo "^linux-image-6\\.12\\.[0-9]+\\+deb[0-9]+-cloud-$2-unsigned\$" ;;
	7.2) echo "^linux-binary-7\\.2\\.[0-9]+.*-cloud-$2\$" ;;
	*) return 1 ;;
	esac
}

# modules_package IMAGE: the package with the modules, if it is another one.
modules_package() {
	case $1 in
	linux-binary-*) echo "linux-modules-${1#linux-binary-}" ;;
	esac
}
