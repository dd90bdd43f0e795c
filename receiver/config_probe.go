// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
)

const (
	// maxInterfaceName is IFNAMSIZ without the terminating zero.
	maxInterfaceName = 15
	// maxPrefixes is the size of the kernel side's client filter.
	maxPrefixes = 4096
)

// probeConfig translates what concerns the kernel side. Faults go to f; values that
// only Validate looks at are trusted.
func (c *Config) probeConfig(f *faults) probe.Config {
	cfg := probe.Config{
		Scope:                probe.Scope(c.Connections.Scope),
		IncludePorts:         parsePorts(f, "ports::include", c.Ports.Include),
		ExcludePorts:         parsePorts(f, "ports::exclude", c.Ports.Exclude),
		IncludeClients:       parsePrefixes(f, "clients::include", c.Clients.Include),
		ExcludeClients:       parsePrefixes(f, "clients::exclude", c.Clients.Exclude),
		IncludeInterfaces:    c.Interfaces.parse(f, c.TC.Mode),
		ExcludeInterfaces:    checkPatterns(f, "interfaces::exclude", c.Interfaces.Exclude),
		NetworkNamespaces:    parseNamespaces(f, "interfaces::network_namespaces", c.Interfaces.NetworkNamespaces),
		MaxNetworkNamespaces: uint32(c.Limits.NetworkNamespaces),
		TCMode:               probe.TCMode(c.TC.Mode),
		TCFirst:              c.TC.Position == positionFirst,
		HalfOpen:             c.Connections.HalfOpen,
		HandshakeTimeout:     c.Connections.HandshakeTimeout,
		OpenRecords:          c.Events.TCPServerConnectionOpen.Enabled,
		FailedRecords:        c.Events.TCPServerConnectionFailed.Enabled,
		FailedPerSecond:      uint32(c.Limits.FailedPerSecond),
		PacketSampleRate:     uint32(c.Packets.SampleRate),
		PacketClasses:        parseClasses(f, "packets::flags", c.Packets.Flags),
		PacketsPerSecond:     uint32(c.Packets.MaxPerSecond),
		Drops:                c.Metrics.TCPServerDrops.Enabled,
		Retransmits:          c.Metrics.TCPServerRetransmits.Enabled,
		Handshakes:           c.Metrics.TCPServerHandshakeDuration.Enabled || c.Events.TCPServerConnectionClose.Enabled,
		Accepts:              c.Metrics.TCPServerAcceptDuration.Enabled || c.Events.TCPServerConnectionClose.Enabled,
		Overflows: c.Metrics.TCPServerAcceptQueueOverflows.Enabled ||
			c.Metrics.TCPServerConnectionFailed.Enabled || c.Events.TCPServerConnectionFailed.Enabled,
		Process:          c.Attribution.Process || c.Attribution.Container,
		AcceptTracepoint: c.Attribution.AcceptTracepoint,
		ExcludeHooks:     parseHooks(f, "hooks::exclude", c.Hooks.Exclude),
		MaxConnections:   uint32(c.Limits.Connections),
		RingBytes:        uint32(c.Limits.RingBytes),
		MaxListeners:     uint32(c.Limits.Listeners),
		MaxHalfOpen:      uint32(c.Limits.HalfOpen),
		MaxPortCounters:  uint32(c.Limits.PortCounters),
	}
	if !c.Events.TCPServerPacket.Enabled {
		withoutPackets(&cfg)
	}
	return cfg
}

// withoutLogs leaves out the records that only become logs.
func withoutLogs(cfg *probe.Config) {
	cfg.OpenRecords, cfg.FailedRecords = false, false
	withoutPackets(cfg)
}

// withoutMetrics leaves out the counters that only become metrics.
func withoutMetrics(cfg *probe.Config) { cfg.Drops, cfg.Retransmits = false, false }

func withoutPackets(cfg *probe.Config) {
	cfg.PacketSampleRate = 0
	cfg.PacketClasses = nil
}

func at(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func parsePorts(f *faults, path string, items []any) []probe.PortRange {
	ranges := make([]probe.PortRange, 0, len(items))
	for i, item := range items {
		r, err := parsePort(item)
		if err != nil {
			f.add(at(path, i), "%w", err)
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

func parsePrefixes(f *faults, path string, items []string) []netip.Prefix {
	prefixes := make([]netip.Prefix, 0, len(items))
	for i, item := range items {
		p, err := parsePrefix(item)
		if err != nil {
			f.add(at(path, i), "%q: %w", item, err)
			continue
		}
		prefixes = append(prefixes, p)
	}
	if len(items) > maxPrefixes {
		f.add(path, "%d entries are too many, allowed are %d", len(items), maxPrefixes)
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

func (i *InterfacesConfig) parse(f *faults, mode string) []string {
	if len(i.Include) == 0 && mode != string(probe.TCOff) {
		f.add("interfaces::include", "selects no interface; tc::mode: off does without packets")
	}
	return checkPatterns(f, "interfaces::include", i.Include)
}

func checkPatterns(f *faults, key string, patterns []string) []string {
	for i, pattern := range patterns {
		if err := checkPattern(pattern); err != nil {
			f.add(at(key, i), "%q: %w", pattern, err)
		}
	}
	return patterns
}

func isPattern(text string) bool { return strings.ContainsAny(text, `*?[\`) }

func checkPattern(pattern string) error {
	if pattern == "" {
		return errors.New("an interface name is missing")
	}
	if strings.ContainsAny(pattern, "/ \t\n") {
		return errors.New("interface names hold neither slash nor space")
	}
	if isPattern(pattern) {
		_, err := path.Match(pattern, "")
		return err
	}
	if len(pattern) > maxInterfaceName {
		return fmt.Errorf("interface names have at most %d bytes", maxInterfaceName)
	}
	return nil
}

func parseHooks(f *faults, key string, patterns []string) []string {
	for i, pattern := range patterns {
		if err := probe.CheckHookPattern(pattern); err != nil {
			f.add(at(key, i), "%q: %w", pattern, err)
		}
	}
	return patterns
}

func parseNamespaces(f *faults, key string, patterns []string) []string {
	for i, pattern := range patterns {
		if err := checkNamespaces(pattern); err != nil {
			f.add(at(key, i), "%q: %w", pattern, err)
		}
	}
	return patterns
}

func checkNamespaces(pattern string) error {
	if !path.IsAbs(pattern) {
		return errors.New("not an absolute path such as /run/netns/*")
	}
	if clean := path.Clean(pattern); clean != pattern {
		return fmt.Errorf("not the shortest form of the path, which is %s", clean)
	}
	_, err := path.Match(pattern, "")
	return err
}

func parseClasses(f *faults, path string, names []string) []packet.Class {
	known := make([]string, 0, packet.Classes)
	for class := range packet.Classes {
		known = append(known, class.String())
	}
	classes := make([]packet.Class, 0, len(names))
next:
	for i, name := range names {
		for class, k := range known {
			if k == name {
				classes = append(classes, packet.Class(class))
				continue next
			}
		}
		f.add(at(path, i), "%q is unknown, allowed are %q", name, known)
	}
	return classes
}
