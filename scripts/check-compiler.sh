#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Fails unless the compiler and headers of the BPF objects are exactly the pinned ones.
# Others build different objects, which must not be committed.
set -euo pipefail
. "$(dirname "$0")/versions.env"

status=0
for pin in "$CLANG_PACKAGE $CLANG_VERSION" "$LIBBPF_PACKAGE $LIBBPF_VERSION"; do
	read -r package want <<<"$pin"
	have=$(dpkg-query -W -f '${Version}' "$package" 2>/dev/null) || have=none
	if [ "$have" != "$want" ]; then
		echo "wrong compiler: $package $have, need $want" >&2
		status=1
	fi
done
exit $status
