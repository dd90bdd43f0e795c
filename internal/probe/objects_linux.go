// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"os"

	"github.com/cilium/ebpf"

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
func newObjects(cfg *Config, ownNetNS uint32, host *hook.Host) (*objects, error) {
	hooks, err := loadSock()
	if err != nil {
		return nil, fmt.Errorf("read the hooks' object: %w", err)
	}
	scans, err := loadScan()
	if err != nil {
		return nil, fmt.Errorf("read the scans' object: %w", err)
	}
	if err := errors.Join(configureHooks(hooks, cfg, ownNetNS, host), configureScans(scans, cfg, ownNetNS)); err != nil {
		return nil, err
	}
	o := &objects{host: host}
	if o.maps, err = shared.NewMaps(cfg); err != nil {
		return nil, err
	}
	o.hooks = hook.Object{Host: host, Spec: hooks, Maps: shared.MapsOf(hooks, o.maps.Maps)}
	o.scans = hook.Object{Host: host, Spec: scans, Maps: shared.MapsOf(scans, o.maps.Maps)}
	sections, err := ebpf.NewCollection(sectionsOf(hooks))
	if err != nil {
		o.maps.Close()
		return nil, fmt.Errorf("create the hooks' constants: %w", capability.Explain(err, capability.NeedsOfMaps()...))
	}
	maps.Copy(o.hooks.Maps, sections.Maps)
	maps.Copy(o.maps.Maps, sections.Maps)
	return o, nil
}

// sectionsOf has an object's constants and variables (.rodata, .bss) alone. All its programs
// share them, although each program is loaded on its own.
func sectionsOf(object *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	spec := object.Copy()
	clear(spec.Programs)
	maps.DeleteFunc(spec.Maps, func(name string, _ *ebpf.MapSpec) bool { return !shared.IsSection(name) })
	return spec
}

// tablesPerMap is how many listeners are told apart for each that the kernel's map has room
// for. Those beyond the map are reported without their queues.
const tablesPerMap = 4

// configureHooks sets constants before any program is loaded.
func configureHooks(spec *ebpf.CollectionSpec, cfg *Config, ownNetNS uint32, host *hook.Host) error {
	now, err := clock.Monotonic()
	if err != nil {
		return err
	}
	return shared.SetConstants(spec, cfg, ownNetNS, map[string]any{
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
		"half_open_marks_mask":      shared.HalfOpenSets(cfg) - 1,
	})
}

func configureScans(spec *ebpf.CollectionSpec, cfg *Config, ownNetNS uint32) error {
	return shared.SetConstants(spec, cfg, ownNetNS, map[string]any{
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

// looks is the object of the lower ways to live figures.
func (o *objects) looks() (*hook.Object, error) {
	if o.lookObject.Spec == nil {
		spec, err := loadLook()
		if err != nil {
			return nil, fmt.Errorf("read the looks' object: %w", err)
		}
		o.lookObject = hook.Object{Host: o.host, Spec: spec, Maps: shared.MapsOf(spec, o.maps.Maps)}
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
