# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which packages have privileged tests; sourced, in the top folder.

# privileged_packages FOLDER…: their folders below the given ones, one a line. Modules of their own
# below the top folder are left out.
privileged_packages() {
	local folder module
	grep -rlE '^//go:build .*privileged' --include='*_test.go' "$@" | xargs -r dirname | sort -u |
		while read -r folder; do
			module=$folder
			while [ "$module" != . ] && [ ! -e "$module/go.mod" ]; do module=$(dirname "$module"); done
			[ "$module" != . ] || echo "$folder"
		done
}
