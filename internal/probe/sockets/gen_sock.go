// SPDX-License-Identifier: Apache-2.0

package sockets

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package sockets -tags linux -target amd64,arm64 -no-global-types sock ../../../bpf/sock/sock.bpf.c -- -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3 -I../../../bpf/lib -I../../../bpf/sources -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../../=
