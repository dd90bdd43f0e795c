// SPDX-License-Identifier: Apache-2.0

// Package fault collects what is wrong with a configuration, each fault with its key, for every
// component of this module.
package fault

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults collects what is wrong with a configuration.
type Faults []error

// Add notes a fault of a key.
func (f *Faults) Add(key, format string, args ...any) {
	*f = append(*f, fmt.Errorf("%s: %w", key, fmt.Errorf(format, args...)))
}

// InRange checks that a value is between two others, both of which are allowed.
func InRange[T int | float64 | time.Duration](f *Faults, key string, value, low, high T) {
	// So that not-a-number is a fault.
	if !(value >= low && value <= high) {
		f.Add(key, "%v is out of range, allowed are %v to %v", value, low, high)
	}
}

// OneOf checks that a value is one of several.
func OneOf(f *Faults, key, value string, allowed ...string) {
	if !slices.Contains(allowed, value) {
		f.Add(key, "%q is unknown, allowed are %q", value, allowed)
	}
}

// At is the key of an item of a list.
func At(key string, i int) string { return key + "[" + strconv.Itoa(i) + "]" }

// Prefixes parses addresses and CIDRs, at most so many.
func Prefixes(f *Faults, key string, items []string, most int) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(items))
	for i, item := range items {
		p, err := Prefix(item)
		if err != nil {
			f.Add(At(key, i), "%q: %w", item, err)
			continue
		}
		prefixes = append(prefixes, p)
	}
	if len(items) > most {
		f.Add(key, "%d entries are too many, allowed are %d", len(items), most)
	}
	return prefixes
}

// Prefix parses an address or a CIDR.
func Prefix(text string) (netip.Prefix, error) {
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
	// IPv4 has its own name here, however it is carried.
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("has bits set beyond its length; did you mean %s?", p.Masked())
	}
	return p, nil
}
