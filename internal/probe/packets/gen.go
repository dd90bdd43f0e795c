// SPDX-License-Identifier: Apache-2.0

package packets

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package packets -tags linux -target amd64,arm64 -no-global-types tc ../../../bpf/tc/tc.bpf.c -- -O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../../../bpf/lib -I../../../bpf/tc -I../../../bpf/sources -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../../=
