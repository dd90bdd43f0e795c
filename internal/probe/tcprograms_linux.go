// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// load creates the maps that are not shared, and the programs that nearly every
// interface needs.
func (v *tcVantage) load() error {
	objects, err := v.collection(tc.HeadersEthernet)
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.objects = objects
	v.counts = newTCCounters(v.objects.Maps)
	v.addresses = newTCAddressTable(v.objects)
	v.sweeper = newTCSweeper(v.cfg, v.options.ownNetNS, v.options.maps, v.options.shares)
	return v.setLookFurther(false)
}

// Tables that are variables of the programs, see TABLE in bpf/tc/options.h.
const (
	tcPorts      = ".data.ports"
	tcInterfaces = ".data.interfaces"
	tcAddresses  = ".data.addresses"
)

// collection has the programs for one kind of interface; the verifier takes its time
// for each, in each namespace. Further ones use the maps of the first.
func (v *tcVantage) collection(begin tc.Headers) (*ebpf.Collection, error) {
	spec, err := loadTc()
	if err != nil {
		return nil, fmt.Errorf("read the packet programs' object: %w", err)
	}
	if err := shared.SetConstants(spec, v.cfg, v.options.ownNetNS, v.constants()); err != nil {
		return nil, err
	}
	if v.options.interfaces > 0 {
		spec.Maps["packet_counters"].MaxEntries = (1 + v.options.interfaces) * uint32(tc.Directions)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool {
		return name != tcProgram(tc.Ingress, begin) && name != tcProgram(tc.Egress, begin)
	})
	replacements := shared.MapsOf(spec, v.options.maps)
	if v.objects != nil {
		replacements = shared.MapsOf(spec, v.objects.Maps)
		for _, name := range []string{".bss", tcInterfaces, tcAddresses} {
			replacements[name] = v.objects.Maps[name]
		}
	}
	replacements[tcPorts] = v.options.ports
	objects, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements})
	if err != nil {
		return nil, fmt.Errorf("load the packet programs: %w", capability.Explain(err, capability.BPF, capability.Perfmon, capability.NetAdmin))
	}
	return objects, nil
}

// tcProgram is a program's name in bpf/tc/tc.bpf.c.
func tcProgram(d tc.Direction, begin tc.Headers) string {
	if begin == tc.HeadersNone {
		return "tc_" + d.String() + "_l3"
	}
	return "tc_" + d.String() + "_eth"
}

// program loads those for interfaces without link headers when the first one needs
// them.
func (v *tcVantage) program(d tc.Direction, begin tc.Headers) (*ebpf.Program, error) {
	name := tcProgram(d, begin)
	if v.objects.Programs[name] == nil {
		more, err := v.collection(begin)
		if err != nil {
			return nil, err
		}
		defer more.Close()
		v.mu.Lock()
		defer v.mu.Unlock()
		for name := range more.Programs {
			v.objects.Programs[name] = more.DetachProgram(name)
		}
	}
	return v.objects.Programs[name], nil
}

// looksAtAll: any packet may be selected, or its client excluded.
func (v *tcVantage) looksAtAll() bool {
	ordinary := slices.Contains(v.cfg.PacketClasses, packet.Data) || slices.Contains(v.cfg.PacketClasses, packet.ACK)
	return ordinary || v.cfg.PacketSampleRate > 0 || len(v.cfg.IncludeClients)+len(v.cfg.ExcludeClients) > 0
}

// setLookFurther tells the programs what else to look at than ports and flags.
func (v *tcVantage) setLookFurther(atAddress bool) error {
	var further shared.LookFurther
	if atAddress {
		further |= shared.LookFurtherAtAddress
	}
	if v.looksAtAll() {
		further |= shared.LookFurtherAtAll
	}
	if err := v.objects.Variables["look_further"].Set(uint32(further)); err != nil {
		return fmt.Errorf("tell the packet programs what to look at: %w", err)
	}
	return nil
}

// setAddressesKnown tells the programs whether the table has all local addresses.
func (v *tcVantage) setAddressesKnown(known bool) error {
	var value uint32
	if known {
		value = 1
	}
	if err := v.objects.Variables["addresses_known"].Set(value); err != nil {
		return fmt.Errorf("tell the packet programs which addresses are ours: %w", err)
	}
	return nil
}

func (v *tcVantage) constants() map[string]any {
	var classes uint32
	for _, class := range v.cfg.PacketClasses {
		classes |= 1 << class
	}
	return map[string]any{
		"netns":              v.options.netns,
		"sample_rate":        v.cfg.PacketSampleRate,
		"class_mask":         classes,
		"packets_per_second": v.cfg.PacketsPerSecond,
		"emit_failed":        v.cfg.FailedRecords,
		"failed_per_second":  v.cfg.FailedPerSecond,
		"ring_wakeup_bytes":  uint64(v.cfg.RingBytes / 4),
		"track_half_open":    v.cfg.HalfOpen,
		"refused_at_egress":  v.options.refusedAtEgress,

		"tracepoint_tells_refused": v.options.tracepointTellsRefused,
		"handshake_timeout_ms":     uint32(v.cfg.HandshakeTimeout.Milliseconds()),
		"half_open_marks_mask":     shared.HalfOpenSets(v.cfg) - 1,
	}
}
