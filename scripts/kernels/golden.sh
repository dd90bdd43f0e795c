#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/golden.sh OUTPUT…
# Takes the golden files that tests on emulated kernels found to differ out of what
# they printed (TEST_KERNELS_OUTPUT of run.sh), and what is made from them. What a test
# printed when run again is the same once more.
set -euo pipefail
cd "$(dirname "$0")/../../internal/diagnosis"
for output in "$@"; do
	tr -d '\r' <"$output" | sed -n 's/^golden \([^ ]*\) .*/\1/p' | sort -u | while read -r file; do
		tr -d '\r' <"$output" | sed -n "/^=== again/,/^=== exit/d; s|^golden $file ||p" >"$file"
		echo "$file"
	done
done
go test -count=1 -update . >/dev/null
