// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/inspect"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sources"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// Diagnose tries every way to every feature, even those that the configuration excludes, and
// detaches it at once. It attaches packet programs for a moment to one of the selected
// interfaces, in both modes, so an interface can have a clsact qdisc for that time. Filters
// of dead instances stay. With an error, the diagnosis has everything that was found.
func Diagnose(cfg Config) (*Diagnosis, error) {
	d := &Diagnosis{BTF: "readable"}
	if err := errors.Join(d.readKernel(), d.readCapabilities()); err != nil {
		return d, err
	}
	if _, err := btf.LoadKernelSpec(); err != nil {
		d.BTF = err.Error()
	}
	p, err := New(cfg, zap.NewNop())
	if err != nil {
		d.Error = err.Error()
		return d, err
	}
	d.Features = p.sockets.Diagnose()
	err = errors.Join(d.addMaps("", p.maps.Maps, nil), d.addMaps("sock", p.sockets.Sections(), nil), p.diagnosePackets(d))
	d.Features = append(d.Features, FeatureDiagnosis{
		Name: hook.FeatureNetworkNamespaces, Gives: "packets in other network namespaces", Wanted: len(cfg.NetworkNamespaces) > 0,
		Ways: []WayDiagnosis{hook.NewWayDiagnosis(hook.MayEnterNetNS(cfg.ExcludeHooks), netns.Hook)},
	})
	if d.nothing() {
		d.Error = "no hook of the kernel could be attached"
	}
	return d, errors.Join(err, p.Close())
}

func (d *Diagnosis) readKernel() error {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return fmt.Errorf("read the kernel's name: %w", err)
	}
	d.Kernel, d.Machine = unix.ByteSliceToString(name.Release[:]), unix.ByteSliceToString(name.Machine[:])
	return nil
}

func (d *Diagnosis) readCapabilities() error {
	held, err := capability.Effective()
	if err != nil {
		return err
	}
	for _, use := range capability.Uses() {
		d.Capabilities = append(d.Capabilities, CapabilityDiagnosis{
			Name: use.Capability.String(), Held: held.Allows(use.Capability), Recommended: use.Required, Gives: use.Gives,
		})
	}
	return nil
}

// diagnosePackets tries both modes of the packet vantage point with its companion, and
// describes what depends on them.
func (p *Probe) diagnosePackets(d *Diagnosis) error {
	ports, err := shared.NewPortTable()
	if err != nil {
		return fmt.Errorf("create a port table: %w", err)
	}
	defer ports.Close()
	inspecting, err := inspect.New(&inspect.Options{Config: &p.cfg, OwnNetNS: p.context.OwnNetNS, Maps: p.maps.Maps, Context: &p.context})
	if err != nil {
		return err
	}
	on := p.cfg.TCMode != TCOff
	packet := FeatureDiagnosis{Name: hook.FeaturePacket, Gives: packets.Gives, Wanted: on}
	inspection := FeatureDiagnosis{Name: hook.FeatureInspect, Gives: inspect.Gives, Wanted: on && p.cfg.Inspect.On()}
	for _, mode := range []TCMode{TCX, TCClsact} {
		if p.cfg.TCMode == TCX || p.cfg.TCMode == TCClsact {
			mode = p.cfg.TCMode
		}
		err = p.diagnoseMode(d, mode, ports, inspecting, &packet, &inspection)
		if err != nil || mode == p.cfg.TCMode {
			break
		}
	}
	// The programs that observe packets count per source, too.
	source := FeatureDiagnosis{Name: hook.FeatureSource, Gives: sources.Gives, Wanted: on && p.cfg.Sources.Enabled, Ways: packet.Ways}
	d.Features = append(d.Features, packet, source, inspection, p.diagnoseRefused(&packet))
	return errors.Join(err, inspecting.Close())
}

// diagnoseMode tries one mode.
func (p *Probe) diagnoseMode(d *Diagnosis, mode TCMode, ports *ebpf.Map, inspecting *inspect.Vantage, packet, inspection *FeatureDiagnosis) error {
	cfg, known := p.cfg, p.maps.Maps
	cfg.TCMode = mode
	trial := packets.Try(&packets.Options{
		Config: &cfg, Managers: tc.NewTrial(), Maps: known, OwnNetNS: p.context.OwnNetNS, OwnPorts: ports,
		Shares: p.shares, Logger: zap.NewNop(),
		Companions: []packets.Companion{func(netns uint32, ports *ebpf.Map, logger *zap.Logger) packets.Guest {
			return inspecting.Under(mode, netns, ports, logger)
		}},
	})
	packet.Ways = append(packet.Ways, trial.Way(packet.Name))
	inspection.Ways = append(inspection.Ways, trial.Way(inspection.Name))
	var err error
	if packet.Used() == &packet.Ways[len(packet.Ways)-1] {
		err = errors.Join(d.addMaps("tc", trial.Maps(), known), d.addMaps("tc", map[string]*ebpf.Map{"port_table": ports}, nil))
		if p.cfg.Inspect.On() {
			err = errors.Join(err, d.addMaps("inspect", trial.GuestMaps(), known))
		}
	}
	return errors.Join(err, trial.Close())
}

// diagnoseRefused describes refusals. A reset without a socket shows at its tracepoint, or on
// its way out.
func (p *Probe) diagnoseRefused(packet *FeatureDiagnosis) FeatureDiagnosis {
	err := p.host.Excluded.Refuse("raw_tp/tcp_send_reset")
	if err == nil && !p.host.ResetWithoutSocket {
		err = errors.New("before Linux 6.10 tcp_send_reset does not report resets without a socket")
	}
	d := FeatureDiagnosis{
		Name: hook.FeatureRefused, Gives: "attempts to connect to a port where nobody listens", Wanted: true,
		Ways: []WayDiagnosis{hook.NewWayDiagnosis(err, "raw_tp/tcp_send_reset")},
	}
	if used := packet.Used(); used != nil {
		d.Ways = append(d.Ways, WayDiagnosis{Hooks: used.Hooks[len(used.Hooks)-1:]})
	}
	return d
}

// addMaps adds the memory of a vantage point's own maps, without maps that are already known.
func (d *Diagnosis) addMaps(vantage string, maps, known map[string]*ebpf.Map) error {
	own, err := mapMemory(vantage, maps, known)
	if err != nil {
		return err
	}
	d.Maps = append(d.Maps, own...)
	for i := range own {
		d.Bytes += own[i].Bytes
	}
	slices.SortFunc(d.Maps, func(a, b MapMemory) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Name, b.Name))
	})
	return nil
}

func mapMemory(vantage string, maps, known map[string]*ebpf.Map) ([]MapMemory, error) {
	var all []MapMemory
	for name, m := range maps {
		switch {
		case strings.HasPrefix(name, "."): // a section's, which each object has
			name = vantage + name
		case known[name] != nil:
			continue
		}
		info, err := m.Info()
		if err != nil {
			return nil, fmt.Errorf("read the memory of map %s: %w", name, err)
		}
		memory, _ := info.Memlock()
		all = append(all, MapMemory{Name: name, Entries: info.MaxEntries, Bytes: memory})
	}
	return all, nil
}

// MapBytes is what the kernel charges for the maps now, without those of the packet vantage
// point in further network namespaces.
func (p *Probe) MapBytes() (uint64, error) {
	known := p.maps.Maps
	all, err := mapMemory("", known, nil)
	sections, sectionsErr := mapMemory("sock", p.sockets.Sections(), nil)
	all, err = append(all, sections...), errors.Join(err, sectionsErr)
	var table uint64
	if p.packets != nil && p.packets.Maps() != nil {
		own, tcErr := mapMemory("tc", p.packets.Maps(), known)
		guests, guestsErr := mapMemory("inspect", p.packets.GuestMaps(), known)
		var tableErr error
		table, tableErr = p.sockets.Listeners.Ports.Bytes(p.context.OwnNetNS)
		all, err = slices.Concat(all, own, guests), errors.Join(err, tcErr, guestsErr, tableErr)
	}
	bytes := table
	for i := range all {
		bytes += all[i].Bytes
	}
	return bytes, err
}
