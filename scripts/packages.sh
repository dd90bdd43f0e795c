# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Which packages have privileged tests; sourced, in the top folder.

# privileged_packages FOLDER…: their folders below the given ones, one a line.
privileged_packages() {
	grep -rlE '^//go:build .*privileged' --include='*_test.go' "$@" | xargs -r dirname | sort -u
}
