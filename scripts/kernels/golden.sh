#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/kernels/golden.sh OUTPUT…
# Updates golden files, and what depends on them, from the output of tests on emulated
# kernels (TEST_KERNELS_OUTPUT of run.sh). A test that ran twice printed the same twice.
set -euo pipefail
cd "$(dirname "$0")/../../internal/diagnosis"
for output in "$@"; do
	tr -d '\r' <"$output" | sed -n 's/^golden \([^ ]*\) .*/\1/p' | sort -u | while read -r file; do
		tr -d '\r' <"$output" | sed -n "/^=== again/,/^=== exit/d; s|^golden $file ||p" >"$file"
		echo "$file"
	done
done
go test -count=1 -update . >/dev/null
