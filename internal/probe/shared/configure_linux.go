// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package shared

import (
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
)

// CapacitiesOf are the sizes that a configuration gives to the maps that network namespaces
// share.
func CapacitiesOf(cfg *settings.Config) Capacities {
	capacities := Capacities{
		RoomConnections:  cfg.MaxConnections,
		RoomListeners:    cfg.MaxListeners,
		RoomHalfOpen:     cfg.MaxHalfOpen,
		RoomPortCounters: cfg.MaxPortCounters,
		RoomSources:      1,
	}
	if cfg.Sources.Enabled {
		capacities[RoomSources] = cfg.Sources.MaxSources
	}
	if !cfg.HalfOpen {
		capacities[RoomHalfOpen] = 1
	}
	return capacities
}

// marksPerEntry is how many attempts leave a mark for each that is tracked.
const marksPerEntry = 2

// HalfOpenSets is the size of half_open_marks, a power of two.
func HalfOpenSets(cfg *settings.Config) uint32 {
	marks := CapacitiesOf(cfg)[RoomHalfOpen] * marksPerEntry
	return 1 << bits.Len32((marks-1)/uint32(len(HalfOpenMarks{}.Marks)))
}

// wantedSets is how many sets of wanted give room for a number of connections: twice as many
// ways, because hashes spread unevenly. A power of two.
func wantedSets(connections uint32) uint32 {
	ways := uint64(len(WantedSet{}.Ways))
	sets := (2*uint64(connections) + ways - 1) / ways
	return 1 << bits.Len64(max(sets, 1)-1)
}

// NewMaps creates the maps, with the sizes and the client filter of the configuration.
func NewMaps(cfg *settings.Config) (*ebpf.Collection, error) {
	if err := capability.CheckDescriptors(); err != nil {
		return nil, err
	}
	// Before 5.11 maps are charged to RLIMIT_MEMLOCK. It may be high enough even where it
	// can't be raised, see capability.Explain.
	_ = rlimit.RemoveMemlock()
	spec, err := Maps()
	if err != nil {
		return nil, err
	}
	setSizes(spec, cfg)
	all, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("create the maps: %w", capability.Explain(err, capability.NeedsOfMaps()...))
	}
	if err := fillClientFilter(all.Maps["client_filter"], cfg); err != nil {
		all.Close()
		return nil, err
	}
	return all, nil
}

// families of addresses: sources of each count apart.
const families = 2

func setSizes(spec *ebpf.CollectionSpec, cfg *settings.Config) {
	capacity := CapacitiesOf(cfg)
	spec.Maps["connections"].MaxEntries = cfg.MaxConnections
	spec.Maps["records"].MaxEntries = cfg.RingBytes
	spec.Maps["listeners"].MaxEntries = capacity[RoomListeners]
	spec.Maps["listening_ports"].MaxEntries = capacity[RoomListeners]
	spec.Maps["half_open_handshakes"].MaxEntries = capacity[RoomHalfOpen]
	spec.Maps["port_counters"].MaxEntries = capacity[RoomPortCounters]
	if len(cfg.NetworkNamespaces) > 0 {
		spec.Maps["port_tables"].MaxEntries = 1 + cfg.MaxNetworkNamespaces
	}
	spec.Maps["half_open_marks"].MaxEntries = HalfOpenSets(cfg)
	if cfg.Inspect.On() {
		spec.Maps["segments"].MaxEntries = cfg.Inspect.RingBytes
		spec.Maps["wanted"].MaxEntries = wantedSets(cfg.Inspect.MaxConnections)
	}
	if cfg.Sources.Enabled {
		spec.Maps["sources"].MaxEntries = capacity[RoomSources]
		spec.Maps["source_sketch"].MaxEntries = uint32(SketchRows * SketchCells / SketchPageCells)
		spec.Maps["source_rest"].MaxEntries = families * (1 + cfg.MaxNetworkNamespaces)
	}
	if !cfg.ByClient() {
		spec.Maps["client_filter"].MaxEntries = 1
	}
}

// fillClientFilter inserts the prefixes; an exclusion wins over an equal inclusion.
func fillClientFilter(filter *ebpf.Map, cfg *settings.Config) error {
	insert := func(prefixes []netip.Prefix, included uint32) error {
		for _, prefix := range prefixes {
			key := ClientKey{Address: prefix.Addr().As16(), Prefixlen: uint32(prefix.Bits())}
			if prefix.Addr().Is4() {
				key.Prefixlen += 96
			}
			if err := filter.Put(&key, included); err != nil {
				return fmt.Errorf("insert client filter %s: %w", prefix, err)
			}
		}
		return nil
	}
	if err := insert(cfg.IncludeClients, 1); err != nil {
		return err
	}
	return insert(cfg.ExcludeClients, 0)
}

// IsSection reports whether a map holds an object's constants or variables, such as .rodata.
func IsSection(name string) bool { return strings.HasPrefix(name, ".") }

// MapsOf are the maps that the programs of an object use, out of all. The object's specs get
// their sizes. Constants and variables are each object's own.
func MapsOf(spec *ebpf.CollectionSpec, all map[string]*ebpf.Map) map[string]*ebpf.Map {
	used := maps.Clone(all)
	maps.DeleteFunc(used, func(name string, _ *ebpf.Map) bool {
		return spec.Maps[name] == nil || IsSection(name)
	})
	for name, m := range used {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	return used
}

// SetConstants sets the constants that all vantage points have, and those given.
func SetConstants(spec *ebpf.CollectionSpec, cfg *settings.Config, ownNetNS uint32, constants map[string]any) error {
	constants["own_netns"] = ownNetNS
	processors, err := ebpf.PossibleCPU()
	if err != nil {
		return fmt.Errorf("count the processors: %w", err)
	}
	capacities := CapacitiesOf(cfg)
	constants["room_capacity"] = capacities
	constants["room_batch"] = batchOf(capacities[RoomConnections], processors)
	constants["filter_ports"] = cfg.ByPort()
	constants["filter_clients"] = cfg.ByClient()
	constants["clients_included_by_default"] = len(cfg.IncludeClients) == 0
	if cfg.ByPort() {
		constants["selected_ports"] = *cfg.SelectedPorts()
	}
	for name, value := range constants {
		variable, ok := spec.Variables[name]
		if !ok {
			return fmt.Errorf("constant %s is not in the object: rebuild it with go generate", name)
		}
		if err := variable.Set(value); err != nil {
			return fmt.Errorf("set constant %s: %w", name, err)
		}
	}
	return nil
}
