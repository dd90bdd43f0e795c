#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/boot.sh FOLDER INITRAMFS RESULT [SECONDS]
# Boots a kernel of FOLDER (fetch.sh) with an initramfs until it powers off. RESULT
# gets what the tests printed, RESULT.console the kernel's messages. The exit code
# is 124 when the time runs out.
set -euo pipefail
folder=$1 initramfs=$2 result=$3 limit=${4:-600}

# Emulated: works without KVM, as in most CI machines, and always in the same way.
timeout "$limit" qemu-system-x86_64 -accel tcg,thread=single -cpu max -smp 2 -m 1024 -nic none \
	-display none -monitor none -no-reboot \
	-serial "file:$result.console" -serial "file:$result" \
	-kernel "$folder/vmlinuz" -initrd "$initramfs" \
	-append "console=ttyS0 quiet panic=-1 rdinit=/init"
