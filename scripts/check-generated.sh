#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Generates everything again, and fails if a file of the tree changed, appeared or
# vanished. It compares contents, so it also works on a tree with uncommitted edits.
set -euo pipefail
cd "$(dirname "$0")/.."

contents() {
	git ls-files -z --cached --others --exclude-standard | sort -z | xargs -0 sha256sum 2>&1
}
before=$(contents)
make --no-print-directory generate
after=$(contents)
if [ "$before" != "$after" ]; then
	echo "generated files are out of date; 'make generate' changed:" >&2
	diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] [0-9a-f]\{64\}  //p' | sort -u >&2
	exit 1
fi
echo "generated files are up to date"
