// SPDX-License-Identifier: Apache-2.0

package probe

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -go-package probe -tags linux -target amd64,arm64 -type record_kind -type close_reason -type failure -type owner_source -type connection_flag -type ledger_entry -type port_count -type look_outcome -type room -type followed -type room_totals -type room_counts -type namespace_share -type counters -type open_record -type close_record -type connection_look -type live_record -type failed_record -type process_record -type listen_record -type scan_record -type listener -type listener_look -type packet_record -type half_open_key -type half_open -type port_counter_key -type port_key -type client_key -type process_key -type connection -type flow -type owner -type record_head sock ../../bpf/sock.bpf.c -- -O2 -g -Wall -Wextra -Werror -Wno-unused-parameter -mcpu=v3 -I/usr/include/x86_64-linux-gnu -fdebug-compilation-dir=. -ffile-prefix-map=../../=
