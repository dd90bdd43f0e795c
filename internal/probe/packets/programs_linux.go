// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets/halfopen"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// load creates the maps that are not shared, and the programs that nearly every interface
// needs.
func (n *namespace) load() error {
	objects, err := n.collection(tc.HeadersEthernet)
	if err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.objects = objects
	n.counts = newCounters(n.objects.Maps)
	n.addresses = local.New(n.objects, n.logger)
	n.sweeper = halfopen.New(n.cfg, n.options.OwnNetNS, n.options.Maps, n.options.Shares)
	n.sweeper.TimedOut = n.options.HalfOpenTimeout
	return n.setLookFurther(false)
}

// Tables that are variables of the programs: see TABLE in bpf/tc/options.h.
const (
	portsTable      = ".data.ports"
	interfacesTable = ".data.interfaces"
)

// collection has the programs for one kind of interface. The verifier takes time for each, in
// each namespace. Further collections use the maps of the first.
func (n *namespace) collection(begin tc.Headers) (*ebpf.Collection, error) {
	spec, err := loadTc()
	if err != nil {
		return nil, fmt.Errorf("read the packet programs' object: %w", err)
	}
	if err := shared.SetConstants(spec, n.cfg, n.options.OwnNetNS, n.constants()); err != nil {
		return nil, err
	}
	if n.slots > 0 {
		spec.Maps["packet_counters"].MaxEntries = (1 + n.slots) * uint32(tc.Directions)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool {
		return name != programName(tc.Ingress, begin) && name != programName(tc.Egress, begin)
	})
	replacements := shared.MapsOf(spec, n.options.Maps)
	if n.objects != nil {
		replacements = shared.MapsOf(spec, n.objects.Maps)
		for _, name := range []string{".bss", interfacesTable, local.TableName} {
			replacements[name] = n.objects.Maps[name]
		}
	}
	replacements[portsTable] = n.ports
	if n.syns != nil {
		replacements["port_syns"] = n.syns
	} else {
		spec.Maps["port_syns"].MaxEntries = 1
	}
	objects, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements})
	if err != nil {
		return nil, fmt.Errorf("load the packet programs: %w", capability.Explain(err, capability.BPF, capability.Perfmon, capability.NetAdmin))
	}
	return objects, nil
}

// programName returns a program's name in bpf/tc/tc.bpf.c.
func programName(d tc.Direction, begin tc.Headers) string {
	if begin == tc.HeadersNone {
		return "tc_" + d.String() + "_l3"
	}
	return "tc_" + d.String() + "_eth"
}

// program loads the programs for interfaces without link headers when the first one needs
// them.
func (n *namespace) program(d tc.Direction, begin tc.Headers) (*ebpf.Program, error) {
	name := programName(d, begin)
	if n.objects.Programs[name] == nil {
		more, err := n.collection(begin)
		if err != nil {
			return nil, err
		}
		defer more.Close()
		n.mu.Lock()
		defer n.mu.Unlock()
		for name := range more.Programs {
			n.objects.Programs[name] = more.DetachProgram(name)
		}
	}
	return n.objects.Programs[name], nil
}

// looksAtAll reports whether any packet can be selected, or its client excluded.
func (n *namespace) looksAtAll() bool {
	ordinary := slices.Contains(n.cfg.PacketClasses, packet.Data) || slices.Contains(n.cfg.PacketClasses, packet.ACK)
	return ordinary || n.cfg.PacketSampleRate > 0 || len(n.cfg.IncludeClients)+len(n.cfg.ExcludeClients) > 0
}

// setLookFurther sets what the programs read beyond ports and flags.
func (n *namespace) setLookFurther(atAddress bool) error {
	var further shared.LookFurther
	if atAddress {
		further |= shared.LookFurtherAtAddress
	}
	if n.looksAtAll() {
		further |= shared.LookFurtherAtAll
	}
	if err := n.objects.Variables["look_further"].Set(uint32(further)); err != nil {
		return fmt.Errorf("configure the packet programs: %w", err)
	}
	return nil
}

// setAddressesKnown sets whether the table has all local addresses.
func (n *namespace) setAddressesKnown(known bool) error {
	var value uint32
	if known {
		value = 1
	}
	if err := n.objects.Variables["addresses_known"].Set(value); err != nil {
		return fmt.Errorf("configure the local addresses of packet programs: %w", err)
	}
	return nil
}

func (n *namespace) constants() map[string]any {
	var classes uint32
	for _, class := range n.cfg.PacketClasses {
		classes |= 1 << class
	}
	return map[string]any{
		"netns":              n.inode,
		"sample_rate":        n.cfg.PacketSampleRate,
		"class_mask":         classes,
		"packets_per_second": n.cfg.PacketsPerSecond,
		"emit_failed":        n.cfg.FailedRecords,
		"failed_per_second":  n.cfg.FailedPerSecond,
		"ring_wakeup_bytes":  uint64(n.cfg.RingBytes / 4),
		"track_half_open":    n.cfg.HalfOpen,
		"refused_at_egress":  n.options.RefusedAtEgress,
		"count_sources":      n.cfg.Sources.Enabled,
		"count_syns":         n.cfg.Sources.Services,
		"source_seed":        n.cfg.Sources.Seed,
		"source_prefix":      n.cfg.Sources.Mask(),

		"tracepoint_reports_refused": n.options.TracepointReportsRefused,
		"resets_at_egress":           n.options.ResetsAtEgress,
		"handshake_timeout_ms":       uint32(n.cfg.HandshakeTimeout.Milliseconds()),
		"half_open_marks_mask":       shared.HalfOpenSets(n.cfg) - 1,
	}
}
