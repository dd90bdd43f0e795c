// SPDX-License-Identifier: Apache-2.0

package check

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

// Ports parses ports, which are numbers or ranges such as "8000-8100".
func Ports(f *Faults, key string, items []any) []probe.PortRange {
	ranges := make([]probe.PortRange, 0, len(items))
	for i, item := range items {
		r, err := parsePort(item)
		if err != nil {
			f.Add(at(key, i), "%w", err)
			continue
		}
		ranges = append(ranges, r)
	}
	return ranges
}

func parsePort(item any) (probe.PortRange, error) {
	var text string
	switch v := item.(type) {
	case string:
		text = v
	case int, int64, uint64:
		text = fmt.Sprint(v)
	default:
		return probe.PortRange{}, fmt.Errorf("%v is neither a port nor a range such as \"8000-8100\"", item)
	}
	low, high, isRange := strings.Cut(text, "-")
	if strings.HasPrefix(text, "-") || !isRange {
		low, high = text, text
	}
	first, err := portNumber(low)
	if err != nil {
		return probe.PortRange{}, fmt.Errorf("%q: %w", text, err)
	}
	last, err := portNumber(high)
	if err != nil {
		return probe.PortRange{}, fmt.Errorf("%q: %w", text, err)
	}
	if last < first {
		return probe.PortRange{}, fmt.Errorf("%q: the range ends before it begins", text)
	}
	return probe.PortRange{First: first, Last: last}, nil
}

func portNumber(text string) (uint16, error) {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	switch {
	case text == "":
		return 0, errors.New("a port is missing")
	case err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("%q is not a number", text)
	case err != nil, n < 1, n > math.MaxUint16:
		return 0, fmt.Errorf("ports are 1 to %d", math.MaxUint16)
	}
	return uint16(n), nil
}

// PortSelection refuses included entries that the exclusion covers, and an exclusion that leaves
// nothing. Entries that are no ports are faults already.
func PortSelection(f *Faults, include, exclude []any) {
	var ignored Faults
	excluded := Ports(&ignored, "", exclude)
	slices.SortFunc(excluded, func(a, b probe.PortRange) int { return int(a.First) - int(b.First) })
	if len(include) == 0 && covered(probe.PortRange{First: 1, Last: 65535}, excluded) {
		f.Add("ports::exclude", "leaves no port")
	}
	for i, item := range include {
		if r, err := parsePort(item); err == nil && covered(r, excluded) {
			f.Add(at("ports::include", i), "%v selects nothing: ports::exclude has it, too", item)
		}
	}
}

// covered reports whether ranges, sorted by their beginning, hold all ports of another one.
func covered(r probe.PortRange, by []probe.PortRange) bool {
	next := int(r.First)
	for _, other := range by {
		if int(other.First) <= next {
			next = max(next, int(other.Last)+1)
		}
	}
	return next > int(r.Last)
}
