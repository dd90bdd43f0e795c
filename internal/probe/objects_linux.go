// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"os"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/rlimit"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// objects are the maps that the vantage points share, and the objects that the
// socket vantage point's programs are loaded from, one by one.
type objects struct {
	// maps are the shared ones, with the constants and variables of the hooks.
	maps  *ebpf.Collection
	host  *hook.Host
	hooks hook.Object
	scans hook.Object
	// lookObject is read when the first of its programs is wanted.
	lookObject hook.Object
}

// newObjects creates the maps. Nothing runs yet.
func newObjects(cfg *Config, host *hook.Host) (*objects, error) {
	if err := capability.CheckDescriptors(); err != nil {
		return nil, err
	}
	// Before 5.11 maps are charged to RLIMIT_MEMLOCK. It may be high enough even
	// where it can't be raised, see hint.
	_ = rlimit.RemoveMemlock()
	spec, err := shared.Maps()
	if err != nil {
		return nil, err
	}
	hooks, err := loadSock()
	if err != nil {
		return nil, fmt.Errorf("read the hooks' object: %w", err)
	}
	scans, err := loadScan()
	if err != nil {
		return nil, fmt.Errorf("read the scans' object: %w", err)
	}
	configureMaps(spec, cfg)
	if err := errors.Join(configureHooks(hooks, cfg, host), configureScans(scans, cfg)); err != nil {
		return nil, err
	}
	o := &objects{host: host}
	if o.maps, err = ebpf.NewCollection(withSections(spec, hooks)); err != nil {
		return nil, fmt.Errorf("create the maps: %w", capability.Explain(err, capability.NeedsOfMaps()...))
	}
	resizeMaps(hooks, o.maps.Maps)
	o.hooks = hook.Object{Host: host, Spec: hooks, Maps: o.maps.Maps}
	o.scans = hook.Object{Host: host, Spec: scans, Maps: sharedMaps(scans, o.maps.Maps)}
	if err := o.fillClientFilter(cfg); err != nil {
		o.maps.Close()
		return nil, err
	}
	return o, nil
}

// withSections adds an object's constants and variables (.rodata, .bss) to the shared
// maps, so that its programs get the same ones although each is loaded on its own.
func withSections(spec, from *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	all := from.Copy()
	clear(all.Programs)
	maps.DeleteFunc(all.Maps, func(name string, _ *ebpf.MapSpec) bool { return !isSection(name) })
	maps.Copy(all.Maps, spec.Maps)
	return all
}

func isSection(name string) bool { return strings.HasPrefix(name, ".") }

// resizeMaps gives an object's maps the sizes of those that it gets instead.
func resizeMaps(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) {
	for name, m := range maps {
		if mine, ok := spec.Maps[name]; ok {
			mine.MaxEntries = m.MaxEntries()
		}
	}
}

// sharedMaps are the maps that another object's programs use too. Each object has its
// own constants and variables.
func sharedMaps(spec *ebpf.CollectionSpec, all map[string]*ebpf.Map) map[string]*ebpf.Map {
	used := maps.Clone(all)
	maps.DeleteFunc(used, func(name string, _ *ebpf.Map) bool {
		return spec.Maps[name] == nil || isSection(name)
	})
	resizeMaps(spec, used)
	return used
}

// Sizes of maps that the configuration leaves to us.
const (
	defaultListeners    = 16384
	defaultHalfOpen     = 16384
	defaultPortCounters = 8192
)

// tablesPerMap is how many listeners are told apart for each that the kernel's map has room
// for. Those beyond the map are reported without their queues.
const tablesPerMap = 4

// roomCapacities are the sizes of the maps that network namespaces share.
func roomCapacities(cfg *Config) shared.Capacities {
	capacities := shared.Capacities{
		shared.RoomConnections:  cfg.MaxConnections,
		shared.RoomListeners:    cmp.Or(cfg.MaxListeners, defaultListeners),
		shared.RoomHalfOpen:     cmp.Or(cfg.MaxHalfOpen, defaultHalfOpen),
		shared.RoomPortCounters: cmp.Or(cfg.MaxPortCounters, defaultPortCounters),
	}
	if !cfg.HalfOpen {
		capacities[shared.RoomHalfOpen] = 1
	}
	return capacities
}

// configureMaps sets sizes before the maps are created.
func configureMaps(spec *ebpf.CollectionSpec, cfg *Config) {
	spec.Maps["connections"].MaxEntries = cfg.MaxConnections
	spec.Maps["records"].MaxEntries = cfg.RingBytes
	capacity := roomCapacities(cfg)
	spec.Maps["listeners"].MaxEntries = capacity[shared.RoomListeners]
	spec.Maps["listening_ports"].MaxEntries = capacity[shared.RoomListeners]
	spec.Maps["half_open_handshakes"].MaxEntries = capacity[shared.RoomHalfOpen]
	spec.Maps["port_counters"].MaxEntries = capacity[shared.RoomPortCounters]
	if len(cfg.NetworkNamespaces) > 0 {
		spec.Maps["port_tables"].MaxEntries = 1 + cfg.MaxNetworkNamespaces
	}
	if !cfg.HalfOpen {
		spec.Maps["half_open_handshakes"].MaxEntries = 1
	}
	spec.Maps["half_open_marks"].MaxEntries = halfOpenSets(cfg)
	if len(cfg.IncludeClients)+len(cfg.ExcludeClients) == 0 {
		spec.Maps["client_filter"].MaxEntries = 1
	}
}

// configureHooks sets constants before any program is loaded.
func configureHooks(spec *ebpf.CollectionSpec, cfg *Config, host *hook.Host) error {
	now, err := clock.Monotonic()
	if err != nil {
		return err
	}
	return setConstants(spec, cfg, map[string]any{
		"emit_open":                 cfg.OpenRecords,
		"track_half_open":           cfg.HalfOpen,
		"scope":                     scopeNumber(cfg.Scope),
		"track_repeated_handshakes": cfg.Handshakes,
		"loaded_us":                 uint64(now.Microseconds()),
		"attribute_process":         cfg.Process,
		"ring_wakeup_bytes":         uint64(cfg.RingBytes / 4),
		"emit_failed":               cfg.FailedRecords,
		"failed_per_second":         cfg.FailedPerSecond,
		"ordinary_reasons":          ordinaryReasons(host.DropReasons),
		"tracepoint_tells_refused":  host.ResetWithoutSocket && cfg.TCMode != TCOff,
		"handshake_timeout_ms":      uint32(cfg.HandshakeTimeout.Milliseconds()),
		"half_open_marks_mask":      halfOpenSets(cfg) - 1,
	})
}

func configureScans(spec *ebpf.CollectionSpec, cfg *Config) error {
	return setConstants(spec, cfg, map[string]any{
		"attribute_process": cfg.Process,
		"scope":             scopeNumber(cfg.Scope),
	})
}

func scopeNumber(scope Scope) uint8 {
	switch scope {
	case ScopeHost:
		return uint8(shared.ScopeOwnNetns)
	case ScopeInitialUserNS:
		return uint8(shared.ScopeInitialUserNs)
	default:
		return uint8(shared.ScopeAll)
	}
}

// setConstants sets what both vantage points share, and what is given.
func setConstants(spec *ebpf.CollectionSpec, cfg *Config, constants map[string]any) error {
	constants["own_netns"] = cfg.ownNetNS
	constants["room_capacity"] = roomCapacities(cfg)
	constants["filter_ports"] = len(cfg.IncludePorts)+len(cfg.ExcludePorts) > 0
	constants["filter_clients"] = len(cfg.IncludeClients)+len(cfg.ExcludeClients) > 0
	constants["clients_included_by_default"] = len(cfg.IncludeClients) == 0
	if constants["filter_ports"] == true {
		constants["selected_ports"] = selectedPorts(cfg)
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

func selectedPorts(cfg *Config) [65536]uint8 {
	var selected [65536]uint8
	mark := func(ranges []PortRange, value uint8) {
		for _, r := range ranges {
			for port := int(r.First); port <= int(r.Last); port++ {
				selected[port] = value
			}
		}
	}
	if len(cfg.IncludePorts) == 0 {
		mark([]PortRange{{0, 65535}}, 1)
	}
	mark(cfg.IncludePorts, 1)
	mark(cfg.ExcludePorts, 0)
	return selected
}

// fillClientFilter enters the prefixes; an exclusion wins over an equal inclusion.
func (o *objects) fillClientFilter(cfg *Config) error {
	enter := func(prefixes []netip.Prefix, included uint32) error {
		for _, prefix := range prefixes {
			key := shared.ClientKey{Address: prefix.Addr().As16(), Prefixlen: uint32(prefix.Bits())}
			if prefix.Addr().Is4() {
				key.Prefixlen += 96
			}
			if err := o.maps.Maps["client_filter"].Put(&key, included); err != nil {
				return fmt.Errorf("enter client filter %s: %w", prefix, err)
			}
		}
		return nil
	}
	if err := enter(cfg.IncludeClients, 1); err != nil {
		return err
	}
	return enter(cfg.ExcludeClients, 0)
}

// looks is the object of the lower ways to live figures.
func (o *objects) looks() (*hook.Object, error) {
	if o.lookObject.Spec == nil {
		spec, err := loadLook()
		if err != nil {
			return nil, fmt.Errorf("read the looks' object: %w", err)
		}
		o.lookObject = hook.Object{Host: o.host, Spec: spec, Maps: sharedMaps(spec, o.maps.Maps)}
	}
	return &o.lookObject, nil
}

func (o *objects) close() { o.maps.Close() }

// ringSize rounds up to a power of two of whole pages, which the kernel insists on.
func ringSize(bytes uint32) uint32 {
	page := uint32(os.Getpagesize())
	if bytes <= page {
		return page
	}
	return 1 << bits.Len32(bytes-1)
}
