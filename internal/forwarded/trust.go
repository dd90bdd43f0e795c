// SPDX-License-Identifier: Apache-2.0

// Package forwarded finds the client behind proxies. Anybody can send the header fields that
// name it, so they only count where a proxy that the user trusts has sent them.
package forwarded

import (
	"errors"
	"fmt"
	"net/netip"
)

// Trust is the set of trusted proxies.
type Trust struct {
	prefixes []netip.Prefix
}

// NewTrust parses prefixes and single addresses. Nobody is trusted without them.
func NewTrust(prefixes []string) (*Trust, error) {
	t := &Trust{}
	for i, s := range prefixes {
		prefix, err := parsePrefix(s)
		if err != nil {
			return nil, fmt.Errorf("entry %d, %q: %w", i, s, err)
		}
		t.prefixes = append(t.prefixes, prefix)
	}
	return t, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(s)
	if err == nil {
		if prefix != prefix.Masked() {
			return prefix, fmt.Errorf("has bits behind its length, use %s", prefix.Masked())
		}
		if prefix.Addr().Is4In6() {
			return prefix, errors.New("is IPv4 in IPv6, write it as IPv4")
		}
		return prefix, nil
	}
	address, addressErr := netip.ParseAddr(s)
	if addressErr != nil || address.Zone() != "" {
		return prefix, errors.New("neither an address nor a prefix such as 10.0.0.0/8")
	}
	address = address.Unmap()
	return netip.PrefixFrom(address, address.BitLen()), nil
}

// Empty reports whether nobody is trusted.
func (t *Trust) Empty() bool { return len(t.prefixes) == 0 }

// Trusts reports whether an address is a trusted proxy.
func (t *Trust) Trusts(address netip.Addr) bool {
	address = address.Unmap().WithZone("")
	for i := range t.prefixes {
		if t.prefixes[i].Contains(address) {
			return true
		}
	}
	return false
}
