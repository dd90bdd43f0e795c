// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/declared"
)

// network is a group of clients, and its name in series.
type network struct {
	prefix netip.Prefix
	name   string
}

// networks are few, and those with longer prefixes come first.
type networks []network

func newNetworks(prefixes []netip.Prefix) networks {
	var all networks
	for _, prefix := range prefixes {
		all = append(all, network{prefix, prefix.String()})
	}
	slices.SortStableFunc(all, func(a, b network) int { return cmp.Compare(b.prefix.Bits(), a.prefix.Bits()) })
	return all
}

// of returns the name of a client's network; "" if clients are not grouped.
func (n networks) of(client netip.Addr) string {
	if len(n) == 0 {
		return ""
	}
	client = client.Unmap()
	for i := range n {
		if n[i].prefix.Contains(client) {
			return n[i].name
		}
	}
	return declared.NetworkOther
}
