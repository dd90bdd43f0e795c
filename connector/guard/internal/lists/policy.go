// SPDX-License-Identifier: Apache-2.0

package lists

import (
	"fmt"
	"net/netip"

	"github.com/ebpftcp/ebpftcpreceiver/connector/guard/internal/address"
)

// Policy is what a list of blocks may not contain. Without it, one line of a list from the
// internet can cut the host off: lists of addresses that nobody should have contain the private
// networks, and a truncated prefix may be 0.0.0.0/0.
type Policy struct {
	// Widest4 and Widest6 are the shortest prefix lengths that may be blocked.
	Widest4, Widest6 int
	// Networks are the host's own: those that it reaches without a gateway.
	Networks func() []netip.Prefix
}

// DefaultPolicy allows all that regional registries give to one owner.
func DefaultPolicy(networks func() []netip.Prefix) Policy {
	return Policy{Widest4: 8, Widest6: 16, Networks: networks}
}

// Refuse says why a prefix may not be blocked. Single addresses always may: the allow-list
// protects those that matter.
func (p Policy) Refuse(prefix netip.Prefix) string {
	if address.IsSingle(prefix) {
		return ""
	}
	widest := p.Widest6
	if prefix.Addr().Is4() {
		widest = p.Widest4
	}
	if prefix.Bits() < widest {
		return fmt.Sprintf("wider than /%d", widest)
	}
	if p.Networks == nil {
		return ""
	}
	for _, own := range p.Networks() {
		if !address.IsSingle(own) && own.Bits() >= prefix.Bits() && prefix.Contains(own.Addr()) {
			return fmt.Sprintf("contains the host's own network %s", own)
		}
	}
	return ""
}
