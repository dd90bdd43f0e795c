// SPDX-License-Identifier: Apache-2.0

//go:build linux

package main

import (
	"context"
	"errors"
)

// measureGuard has the kernel run the guard's program many times on the same packet, and sends SYNs that
// the guard or nftables drops.
func measureGuard(ctx context.Context, b *bench) error {
	var wanted []fromBenchmark
	for id, name := range map[string]string{
		"guard-nothing":    "nothing_blocked",
		"guard-innocent":   "100000_sources,_innocent",
		"guard-innocent6":  "100000_sources,_innocent_IPv6",
		"guard-blocked":    "100000_sources,_blocked",
		"guard-allowed":    "100000_sources,_blocked,_with_an_allowed_address",
		"guard-networks":   "10000_networks,_outside",
		"guard-networks-6": "10000_networks,_outside,_IPv6",
	} {
		wanted = append(wanted, fromBenchmark{
			id: id, benchmark: "BenchmarkGuard/" + name, metric: "x-empty", seen: []string{"ns/packet", "empty-ns"},
		})
	}
	const dropped = "BenchmarkDroppedSYN"
	return errors.Join(
		b.take(ctx, goBenchmark{folder: "internal/guard", pattern: "^BenchmarkGuard$", times: 30, count: 3}, wanted...),
		b.take(ctx, goBenchmark{folder: "internal/guard", pattern: "^" + dropped + "$", times: 30, count: 3},
			fromBenchmark{id: "guard-netdev", benchmark: dropped, metric: "x-netdev", seen: []string{"ns/packet", "netdev-ns"}},
			fromBenchmark{id: "guard-input", benchmark: dropped, metric: "x-input", seen: []string{"ns/packet", "input-ns"}}),
	)
}
