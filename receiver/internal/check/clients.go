// SPDX-License-Identifier: Apache-2.0

package check

import (
	"net/netip"
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fault"
)

// maxPrefixes is the size of the kernel side's client filter.
const maxPrefixes = 4096

// Prefixes parses addresses and CIDRs.
func Prefixes(f *Faults, key string, items []string) []netip.Prefix {
	return fault.Prefixes(f, key, items, maxPrefixes)
}

// maxNetworks bounds the values of client.network.
const maxNetworks = 64

// Networks parses the CIDRs that clients are grouped by, and refuses one that is there twice.
func Networks(f *Faults, items []string) []netip.Prefix {
	const key = "clients::networks"
	all := fault.Prefixes(f, key, items, maxNetworks)
	for i, prefix := range all {
		if slices.Contains(all[:i], prefix) {
			f.Add(key, "has %s twice", prefix)
		}
	}
	return all
}

// ClientSelection refuses included entries that are excluded as well, and an exclusion that
// leaves nothing. The longer prefix decides, and of equal ones the exclusion.
func ClientSelection(f *Faults, include, exclude []string) {
	var ignored Faults
	excluded := Prefixes(&ignored, "", exclude)
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if len(include) == 0 && slices.Contains(excluded, all[0]) && slices.Contains(excluded, all[1]) {
		f.Add("clients::exclude", "leaves no client")
	}
	for i, item := range include {
		if prefix, err := fault.Prefix(item); err == nil && slices.Contains(excluded, prefix) {
			f.Add(at("clients::include", i), "%q selects nothing: clients::exclude has it, too", item)
		}
	}
}
