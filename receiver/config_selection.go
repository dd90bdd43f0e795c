// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"net/netip"
	"path"
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// validateSelections refuses entries that select nothing, because an exclusion has all
// that they stand for, and exclusions that leave nothing. Entries that are no ports or
// prefixes are faults already.
func (c *Config) validateSelections(f *faults) {
	validatePortSelection(f, c.Ports.Include, c.Ports.Exclude)
	validateClientSelection(f, c.Clients.Include, c.Clients.Exclude)
	if c.TC.Mode != string(probe.TCOff) {
		validateInterfaceSelection(f, c.Interfaces.Include, c.Interfaces.Exclude)
	}
}

func validatePortSelection(f *faults, include, exclude []any) {
	var ignored faults
	excluded := parsePorts(&ignored, "", exclude)
	slices.SortFunc(excluded, func(a, b probe.PortRange) int { return int(a.First) - int(b.First) })
	if len(include) == 0 && covered(probe.PortRange{First: 1, Last: 65535}, excluded) {
		f.add("ports::exclude", "leaves no port")
	}
	for i, item := range include {
		if r, err := parsePort(item); err == nil && covered(r, excluded) {
			f.add(at("ports::include", i), "%v selects nothing: ports::exclude has it, too", item)
		}
	}
}

// covered tells whether ranges, sorted by their beginning, hold all ports of one.
func covered(r probe.PortRange, by []probe.PortRange) bool {
	next := int(r.First)
	for _, other := range by {
		if int(other.First) <= next {
			next = max(next, int(other.Last)+1)
		}
	}
	return next > int(r.Last)
}

// validateClientSelection: of an inclusion and an exclusion the longer prefix decides, and
// the exclusion where both are equal.
func validateClientSelection(f *faults, include, exclude []string) {
	var ignored faults
	excluded := parsePrefixes(&ignored, "", exclude)
	all := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if len(include) == 0 && slices.Contains(excluded, all[0]) && slices.Contains(excluded, all[1]) {
		f.add("clients::exclude", "leaves no client")
	}
	for i, item := range include {
		if prefix, err := parsePrefix(item); err == nil && slices.Contains(excluded, prefix) {
			f.add(at("clients::include", i), "%q selects nothing: clients::exclude has it, too", item)
		}
	}
}

func validateInterfaceSelection(f *faults, include, exclude []string) {
	left := 0
	for i, item := range include {
		by := slices.IndexFunc(exclude, func(pattern string) bool { return leavesNothingOf(pattern, item) })
		if by < 0 {
			left++
			continue
		}
		if exclude[by] != "*" {
			f.add(at("interfaces::include", i), "%q selects nothing: interfaces::exclude has %q", item, exclude[by])
		}
	}
	if len(include) > 0 && left == 0 && slices.Contains(exclude, "*") {
		f.add("interfaces::exclude", "leaves no interface; tc::mode: off does without packets")
	}
}

// leavesNothingOf tells whether a pattern matches all that another one, or a name, can.
func leavesNothingOf(pattern, item string) bool {
	if pattern == "*" || pattern == item {
		return true
	}
	matches, err := path.Match(pattern, item)
	return err == nil && matches && !isPattern(item)
}
