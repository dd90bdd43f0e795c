// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// maxPrefixes is the size of the kernel side's client filter.
const maxPrefixes = 4096

// Prefixes parses addresses and CIDRs.
func Prefixes(f *Faults, key string, items []string) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(items))
	for i, item := range items {
		p, err := parsePrefix(item)
		if err != nil {
			f.Add(at(key, i), "%q: %w", item, err)
			continue
		}
		prefixes = append(prefixes, p)
	}
	if len(items) > maxPrefixes {
		f.Add(key, "%d entries are too many, allowed are %d", len(items), maxPrefixes)
	}
	return prefixes
}

func parsePrefix(text string) (netip.Prefix, error) {
	if !strings.Contains(text, "/") {
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return netip.Prefix{}, errors.New("neither an IP address without zone nor a CIDR")
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, errors.New("not a CIDR such as 10.0.0.0/8 or 2001:db8::/32")
	}
	// The kernel side calls IPv4 by its own name, however it is carried.
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("has bits set beyond its length; did you mean %s?", p.Masked())
	}
	return p, nil
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
		if prefix, err := parsePrefix(item); err == nil && slices.Contains(excluded, prefix) {
			f.Add(at("clients::include", i), "%q selects nothing: clients::exclude has it, too", item)
		}
	}
}
