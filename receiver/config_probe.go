// SPDX-License-Identifier: Apache-2.0

package receiver

import (
	"slices"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/receiver/internal/check"
)

// probeConfig translates what concerns the kernel side, and adds faults to f. It trusts values
// that only Validate checks.
func (c *Config) probeConfig(f *check.Faults) probe.Config {
	cfg := probe.Config{
		Scope: probe.Scope(c.Connections.Scope),
		Filter: probe.Filter{
			IncludePorts:   check.Ports(f, "ports::include", c.Ports.Include),
			ExcludePorts:   check.Ports(f, "ports::exclude", c.Ports.Exclude),
			IncludeClients: check.Prefixes(f, "clients::include", c.Clients.Include),
			ExcludeClients: check.Prefixes(f, "clients::exclude", c.Clients.Exclude),
		},
		Sockets: probe.Sockets{
			OpenRecords: c.Events.TCPServerConnectionOpen.Enabled,
			Drops:       c.Metrics.TCPServerDrops.Enabled,
			Retransmits: c.Metrics.TCPServerRetransmits.Enabled,
			Handshakes:  c.Metrics.TCPServerHandshakeDuration.Enabled || c.Events.TCPServerConnectionClose.Enabled,
			Accepts:     c.Metrics.TCPServerAcceptDuration.Enabled || c.Events.TCPServerConnectionClose.Enabled,
			Overflows: c.Metrics.TCPServerAcceptQueueOverflows.Enabled ||
				c.Metrics.TCPServerConnectionFailed.Enabled || c.Events.TCPServerConnectionFailed.Enabled,
		},
		Failures: probe.Failures{
			HalfOpen:         c.Connections.HalfOpen,
			HandshakeTimeout: c.Connections.HandshakeTimeout,
			FailedRecords:    c.Events.TCPServerConnectionFailed.Enabled,
			FailedPerSecond:  uint32(c.Limits.FailedPerSecond),
		},
		Attribution: probe.Attribution{
			Process:          c.Attribution.Process || c.Attribution.Container,
			AcceptTracepoint: c.Attribution.AcceptTracepoint,
		},
		Packets: probe.Packets{
			IncludeInterfaces: c.Interfaces.parse(f, c.TC.Mode),
			ExcludeInterfaces: check.Interfaces(f, "interfaces::exclude", c.Interfaces.Exclude),
			NetworkNamespaces: check.Namespaces(f, "interfaces::network_namespaces", c.Interfaces.NetworkNamespaces),
			TCMode:            probe.TCMode(c.TC.Mode),
			TCFirst:           c.TC.Position == positionFirst,
			PacketSampleRate:  uint32(c.Packets.SampleRate),
			PacketClasses:     check.Classes(f, "packets::flags", c.Packets.Flags),
			PacketsPerSecond:  uint32(c.Packets.MaxPerSecond),
		},
		Limits: probe.Limits{
			MaxNetworkNamespaces: uint32(c.Limits.NetworkNamespaces),
			MaxConnections:       uint32(c.Limits.Connections),
			RingBytes:            uint32(c.Limits.RingBytes),
			MaxListeners:         uint32(c.Limits.Listeners),
			MaxHalfOpen:          uint32(c.Limits.HalfOpen),
			MaxPortCounters:      uint32(c.Limits.PortCounters),
		},
		Sources:      c.Sources.Settings(c.Limits.Sources, &c.Events, &c.Metrics),
		ExcludeHooks: check.Hooks(f, "hooks::exclude", c.Hooks.Exclude),
	}
	if c.Inspect.On() {
		cfg.Inspect = c.Inspect.Settings(f)
		cfg.Inspect.UnderWay = c.Metrics.HTTPServerActiveRequests.Enabled
		cfg.Inspect.MaxConnections = uint32(c.Limits.InspectedConnections)
		cfg.Inspect.MaxBytes = c.Limits.InspectedBytes
		cfg.Inspect.RingBytes = uint32(c.Limits.InspectRingBytes)
	}
	if !c.Events.TCPServerHTTPRequest.Enabled {
		withoutBodies(&cfg)
	}
	if !c.Events.TCPServerPacket.Enabled {
		withoutPackets(&cfg)
	}
	return cfg
}

// withoutLogs switches off what only log records need.
func withoutLogs(cfg *probe.Config) {
	cfg.OpenRecords, cfg.FailedRecords, cfg.Sources.Records, cfg.Sources.Services = false, false, false, false
	withoutPackets(cfg)
	withoutBodies(cfg)
}

// withoutBodies keeps the bodies that only records need from crossing.
func withoutBodies(cfg *probe.Config) {
	cfg.Inspect.HTTP = slices.DeleteFunc(cfg.Inspect.HTTP, func(p settings.InspectedPorts) bool { return p.ForRecords })
}

// withoutMetrics switches off what only metrics need.
func withoutMetrics(cfg *probe.Config) {
	cfg.Drops, cfg.Retransmits, cfg.Inspect.UnderWay, cfg.Sources.Namespaces = false, false, false, false
}

func withoutPackets(cfg *probe.Config) {
	cfg.PacketSampleRate = 0
	cfg.PacketClasses = nil
}

func (i *InterfacesConfig) parse(f *check.Faults, mode string) []string {
	if len(i.Include) == 0 && mode != string(probe.TCOff) {
		f.Add("interfaces::include", "selects no interface; tc::mode: off does without packets")
	}
	return check.Interfaces(f, "interfaces::include", i.Include)
}
