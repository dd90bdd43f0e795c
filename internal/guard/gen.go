// SPDX-License-Identifier: Apache-2.0

package guard

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package guard -tags linux -target amd64,arm64 -type block -type network_key -type outcome_counts -type block_change -type clock -type block_flag -type outcome guard ../../bpf/guard/guard.bpf.c -- -O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../../bpf/lib -I../../bpf/tc -I../../bpf/guard -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../=
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package guard -tags linux -target amd64,arm64 -no-global-types cut ../../bpf/guard/cut.bpf.c -- -O2 -g -Wall -Wextra -Werror -mcpu=v3 -I../../bpf/lib -I../../bpf/tc -I../../bpf/guard -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../=
