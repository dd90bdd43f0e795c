// SPDX-License-Identifier: Apache-2.0

package inspect

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package inspect -tags linux -target amd64,arm64 -no-global-types inspect ../../../bpf/inspect/inspect.bpf.c -- -O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../../../bpf/lib -I../../../bpf/tc -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../../=
