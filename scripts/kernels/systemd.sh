#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/systemd.sh COLLECTOR [NAME…]
# Boots this host's systemd on emulated kernels (all of kernels.sh, or those named),
# starts the unit of deploy/systemd there, and checks from inside what it may do and
# what it observes. Needs: systemd, qemu-system-x86, busybox-static, cpio.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scripts/kernels/kernels.sh
PATH=$PATH:/usr/sbin:/sbin
collector=$1
shift
names=("$@")
if [ ${#names[@]} = 0 ]; then
	# The guest uses this host's programs.
	for name in "${kernel_names[@]}"; do
		[ "$(kernel_arch "$name")" != amd64 ] || names+=("$name")
	done
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pack ROOT: packs everything but the kernel's modules.
pack() {
	local root=$1 file unit
	mkdir -p "$root"/usr/{bin,sbin,lib64,local/bin,lib/systemd/system} \
		"$root"/{proc,sys,dev,run,tmp,root,home,www,var/lib} \
		"$root"/etc/{systemd/system/otelcol-ebpf-tcp.service.d,otelcol-ebpf-tcp}
	chmod 755 "$root"
	ln -s usr/bin usr/sbin usr/lib usr/lib64 "$root"
	ln -s usr/lib/systemd/systemd "$root/init"
	ln -s ../run "$root/var/run"
	cp "$(command -v busybox)" "$root/usr/bin/busybox"
	for file in sh ip cat grep sleep httpd wget poweroff stty unshare nc; do
		ln -s busybox "$root/usr/bin/$file"
	done
	ln -s ../bin/busybox "$root/usr/sbin/modprobe"
	for file in /usr/lib/systemd/systemd /usr/lib/systemd/systemd-shutdown /usr/bin/systemctl; do
		cp "$file" "$root$file"
		ldd "$file" | grep -oE '/[^ ]+'
	done | sort -u | while read -r file; do
		mkdir -p "$root${file%/*}"
		cp -L "$file" "$root$file"
	done
	for unit in basic final local-fs network paths shutdown slices sockets swap sysinit timers umount; do
		cp "/usr/lib/systemd/system/$unit.target" "$root/usr/lib/systemd/system/"
	done
	echo 'root:x:0:0:root:/root:/bin/sh' >"$root/etc/passwd"
	echo 'root:x:0:' >"$root/etc/group"
	echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
	install -m 755 "$collector" "$root/usr/local/bin/otelcol-ebpf-tcp"
	cp deploy/systemd/otelcol-ebpf-tcp.service "$root/etc/systemd/system/"
	cp deploy/systemd/config.yaml "$root/etc/otelcol-ebpf-tcp/"
	pack_check "$root"
}

# pack_check ROOT: packs the check. The unit is unchanged, except for a second
# configuration that prints, and its output.
pack_check() {
	cat >"$1/etc/otelcol-ebpf-tcp/print.yaml" <<-'END'
		exporters: {debug: {verbosity: normal, use_internal_logger: false}}
		service: {pipelines: {logs: {exporters: [debug]}}}
	END
	cat >"$1/etc/systemd/system/otelcol-ebpf-tcp.service.d/print.conf" <<-'END'
		[Service]
		ExecStart=
		ExecStart=/usr/local/bin/otelcol-ebpf-tcp --feature-gates=+extension.healthcheck.useComponentStatus --config=/etc/otelcol-ebpf-tcp/config.yaml --config=/etc/otelcol-ebpf-tcp/print.yaml
		StandardOutput=truncate:/run/collector.log
		StandardError=truncate:/run/collector.log
	END
	cp scripts/kernels/systemd-check "$1/usr/bin/check"
	chmod 755 "$1/usr/bin/check"
	printf '[Service]\nType=oneshot\nExecStart=/usr/bin/check\n' >"$1/etc/systemd/system/check.service"
	printf '[Unit]\nRequires=basic.target check.service\nAfter=basic.target\nAllowIsolate=yes\n' \
		>"$1/etc/systemd/system/default.target"
}

status=0
pack "$work/root"
for name in "${names[@]}"; do
	folder=$(scripts/kernels/fetch.sh "$name")
	rm -rf "$work/root/usr/lib/modules"
	cp -r "$folder/lib/modules" "$work/root/usr/lib/"
	(cd "$work/root" && find . -print0 | cpio --null --quiet -o -H newc -R 0:0) >"$work/cpio"
	scripts/kernels/boot.sh amd64 "$folder" "$work/cpio" "$work/result" 240 || true
	echo "=== systemd on $name"
	if grep -q '^not ok' "$work/result" || ! grep -q '^done' "$work/result"; then
		cat "$work/result"
		tail -n 20 "$work/result.console"
		status=1
	else
		grep '^ok' "$work/result"
	fi
done
exit $status
