// SPDX-License-Identifier: Apache-2.0

// Package shared has what the kernel side and user space share: the maps, and the types
// of their keys and values and of the records. All of it is generated from
// bpf/lib/shared.bpf.c.
package shared

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package shared -tags linux -target amd64,arm64 -output-stem shared -no-global-types maps ../../../bpf/lib/shared.bpf.c -- -O2 -g -Wall -Wextra -Werror -mcpu=v3 -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../../=
//go:generate go run ./typegen shared_x86_bpfel.o types.go
