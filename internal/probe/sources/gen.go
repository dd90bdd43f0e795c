// SPDX-License-Identifier: Apache-2.0

package sources

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package sources -tags linux -target amd64,arm64 -no-global-types leave ../../../bpf/sources/leave.bpf.c -- -O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../../../bpf/lib -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../../=
