#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Usage: scripts/fuzz.sh TIME [REGEXP]
# Fuzzes all targets, or those whose names match, for TIME each, such as 30s or 10m. As many
# run at a time as there are processors, one worker each. An input that fails stays in the
# package's testdata/fuzz.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -ge 1 ] || {
	echo "usage: $0 TIME [REGEXP]" >&2
	exit 2
}

# fuzz TIME FOLDER TARGET
fuzz() {
	local output
	if output=$(go test -run='^$' -fuzz="^$3\$" -fuzztime="$1" -parallel=1 "./$2" 2>&1); then
		echo "passed $3 ($2): $(grep -o 'execs: [0-9]*' <<<"$output" | tail -n 1)"
	elif grep -q 'context deadline exceeded' <<<"$output" && ! grep -q 'Failing input' <<<"$output"; then
		# Under load, go test takes the end of its own time for a failure.
		echo "passed $3 ($2): time was up"
	else
		printf 'failed %s (%s)\n%s\n' "$3" "$2" "$output"
		return 1
	fi
}
export -f fuzz

targets=$(git grep --untracked -E '^func Fuzz[A-Za-z]+\(' -- '*_test.go' |
	sed -E 's|^(.*)/[^/]*:func (Fuzz[A-Za-z]+).*|\1 \2|' | awk -v wanted="${2:-.}" '$2 ~ wanted')
[ -n "$targets" ] || {
	echo "no fuzz target matches ${2:-}" >&2
	exit 1
}
echo "fuzzing $(wc -l <<<"$targets") targets, $1 each"
xargs -P "$(nproc)" -L 1 bash -c 'fuzz "$@"' fuzz "$1" <<<"$targets"
