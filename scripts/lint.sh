#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# All static checks. Each runs even if an earlier one found faults.
set -uo pipefail
cd "$(dirname "$0")/.."
. scripts/versions.env
scripts/deps.sh lint || exit 1

status=0
check() {
	local name=$1
	shift
	if "$@"; then
		echo "lint: $name ok"
	else
		echo "lint: $name found faults" >&2
		status=1
	fi
}
# A formatter lists the files that it would change.
lists_nothing() {
	local found
	found=$("$@") || return 1
	[ -z "$found" ] || {
		echo "$found"
		return 1
	}
}

no_conflict() {
	! git grep -nE '^(<{7}|>{7})( |$)'
}

# bpf2go writes its files as gofmt does.
mapfile -t go_files < <(git ls-files --cached --others --exclude-standard '*.go' ':!*_bpfel.go')
# Documents, messages and descriptions; generated files have them from there.
mapfile -t prose < <(git ls-files --cached --others --exclude-standard \
	'*.md' '*.go' 'metadata.yaml' '*/metadata.yaml' '*config.schema.yaml' \
	':!*/documentation.md' ':!*_test.go' ':!*generated*.go' ':!*_bpfel.go')
check "go vet" go vet -tags privileged,soak ./...
check "go vet of the tools" go vet -C internal/tools ./...
check "go vet of the module with Coraza" go vet -C connector/threats/coraza ./...
check "go vet of the backends' tests" go vet -C test/backends -tags privileged ./...
check "go vet of the dashboards' maker" go vet -C internal/tools/dashboards ./...
# Linux without our objects, and another system with 32 bits. The tests of other kernels compile
# for arm64. Each platform compiles all dependencies once more, which takes minutes.
check "go vet for riscv64" env GOARCH=riscv64 go vet ./...
check "build for 32-bit Windows" env GOOS=windows GOARCH=386 go build ./...
check "staticcheck" go run "honnef.co/go/tools/cmd/staticcheck@$STATICCHECK_VERSION" \
	-tags privileged,soak ./...
check "gofumpt" lists_nothing go run "mvdan.cc/gofumpt@$GOFUMPT_VERSION" -l "${go_files[@]}"
check "conflict markers" no_conflict
check "English" go run -C internal/tools ./prose -C ../.. "${prose[@]}"
check "clang-format" clang-format-19 --dry-run -Werror bpf/*/*.c bpf/*/*.h
exit $status
