#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/boot.sh ARCH KERNEL INITRAMFS RESULT SECONDS
# Boots a kernel's folder (fetch.sh) with an initramfs until it powers off. RESULT
# gets what the tests printed, RESULT.console the kernel's messages. The exit code is
# 124 when the time runs out.
set -euo pipefail
arch=$1 kernel=$2 initramfs=$3 result=$4 limit=$5

# The console is the first port and "results" another, so that their lines do not mix.
case $arch in
amd64)
	machine=(qemu-system-x86_64 -cpu max -serial "file:$result.console" -serial "file:$result")
	console=ttyS0 results=ttyS1
	;;
arm64)
	# Pointer authentication with the architecture's own cipher takes half of the
	# emulator's time.
	machine=(qemu-system-aarch64 -M virt -cpu "max,pauth-impdef=on" -serial "file:$result.console"
		-chardev "file,id=results,path=$result" -device "pci-serial,chardev=results")
	console=ttyAMA0 results=ttyS0
	;;
*)
	echo "kernels: no machine for $arch" >&2
	exit 2
	;;
esac

# A busy host is late with the ticks by which the kernel checks its timer (no_timer_check).
# Emulated, so that it works without KVM, as on most CI machines. One thread for all
# processors, because 5.10 had a soft lockup with one each. In the foreground, so that it
# ends with the group of processes.
exec timeout --foreground "$limit" "${machine[@]}" -accel tcg,thread=single -smp 2 -m 1024 -nic none \
	-display none -monitor none -no-reboot -kernel "$kernel/vmlinuz" -initrd "$initramfs" \
	-append "console=$console quiet panic=-1 no_timer_check rdinit=/init results=$results"
