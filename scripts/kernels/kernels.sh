# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The kernels of the matrix; sourced. For each: the Debian suites that may hold it,
# and the package with vmlinuz as an extended regular expression. Several builds may
# match; the newest that can still be downloaded is taken.

kernel_names=(5.10 6.1 6.12 7.2)

# kernel_suites NAME: suites of the main archive, then of the security one.
kernel_suites() {
	case $1 in
	5.10) echo "bullseye bullseye-security" ;;
	6.1) echo "bookworm bookworm-security" ;;
	6.12) echo "trixie trixie-security" ;;
	7.2) echo "sid" ;;
	*) return 1 ;;
	esac
}

# kernel_package NAME ARCH
kernel_package() {
	case $1 in
	5.10 | 6.1) echo "^linux-image-${1//./\\.}\\.0-[0-9]+-cloud-$2-unsigned\$" ;;
	6.12) echo "^linux-image-6\\.12\\.[0-9]+\\+deb[0-9]+-cloud-$2-unsigned\$" ;;
	7.2) echo "^linux-binary-7\\.2\\.[0-9]+.*-cloud-$2\$" ;;
	*) return 1 ;;
	esac
}

# modules_package IMAGE: the package with the modules, where it is another one.
modules_package() {
	case $1 in
	linux-binary-*) echo "linux-modules-${1#linux-binary-}" ;;
	esac
}
