// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package inspect

import (
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// segmentHeader is the size of a record before the bytes that it carries.
const segmentHeader = uint32(unsafe.Sizeof(shared.SegmentRecord{}))

// Name and order of the inspecting program among those of this process: behind the observing
// one.
const (
	programsName = "inspect"
	order        = 300
)

const loopback = "lo"

// bodiesWanted is BODIES_WANTED of bpf/inspect/segment_of.h.
const bodiesWanted = 0x80

// Guest is the inspecting programs of one network namespace.
type Guest struct {
	vantage *Vantage
	cfg     *settings.Config
	netns   uint32
	// ports is the namespace's table of ports with a listener.
	ports  *ebpf.Map
	logger *zap.Logger

	addresses *local.Table

	// mu guards the rest: the goroutine that drains reads states.
	mu       sync.Mutex
	attached *tc.Attached
	objects  *ebpf.Collection
	// err is why there are no programs.
	err error
}

// In makes a guest of a namespace. It does not change the kernel.
func (v *Vantage) In(netns uint32, ports *ebpf.Map, logger *zap.Logger) *Guest {
	return &Guest{vantage: v, cfg: v.options.Config, netns: netns, ports: ports, logger: logger}
}

// Under makes a guest that attaches in one mode, for a diagnosis.
func (v *Vantage) Under(mode settings.TCMode, netns uint32, ports *ebpf.Map, logger *zap.Logger) *Guest {
	g := v.In(netns, ports, logger)
	cfg := *g.cfg
	cfg.TCMode = mode
	g.cfg = &cfg
	return g
}

// Begin attaches the programs. Hooks tells what was refused.
func (g *Guest) Begin(manager *tc.Manager) {
	if err := g.begin(manager); err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.err = err
	}
}

func (g *Guest) begin(manager *tc.Manager) error {
	objects, err := g.load(tc.HeadersEthernet)
	if err != nil {
		return err
	}
	g.mu.Lock()
	g.objects = objects
	g.mu.Unlock()
	g.addresses = local.New(objects, g.logger)
	attached, err := manager.Add(&tc.Program{
		Name:       programsName,
		Order:      order,
		Mode:       tc.Mode(g.cfg.TCMode),
		First:      g.cfg.TCFirst,
		Refuse:     hook.Patterns(g.cfg.ExcludeHooks).Refuse,
		Interfaces: g.selection(),
		Load:       g.program,
		Follower:   g,
		Logger:     g.logger,
	})
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attached = attached
	return nil
}

// selection is that of the observing programs, and lo: traffic of the host with itself, such as
// that of a gateway with its upstream, passes there only.
func (g *Guest) selection() tc.Selection {
	return tc.Selection{
		Include: append(slices.Clone(g.cfg.IncludeInterfaces), loopback),
		Exclude: slices.DeleteFunc(slices.Clone(g.cfg.ExcludeInterfaces), func(pattern string) bool {
			return pattern == loopback
		}),
	}
}

// load makes the programs for one kind of interface. Those of the second kind use the
// variables of the first.
func (g *Guest) load(begin tc.Headers) (*ebpf.Collection, error) {
	spec, err := loadInspect()
	if err != nil {
		return nil, fmt.Errorf("read the inspecting programs' object: %w", err)
	}
	if err := shared.SetConstants(spec, g.cfg, g.vantage.options.OwnNetNS, g.constants()); err != nil {
		return nil, err
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool {
		return name != programName(tc.Ingress, begin) && name != programName(tc.Egress, begin)
	})
	replacements := shared.MapsOf(spec, g.vantage.options.Maps)
	if g.objects != nil {
		replacements = shared.MapsOf(spec, g.objects.Maps)
		for _, name := range []string{".bss", local.TableName} {
			replacements[name] = g.objects.Maps[name]
		}
	}
	replacements[".data.ports"] = g.ports
	objects, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replacements})
	if err != nil {
		return nil, fmt.Errorf("load the inspecting programs: %w", capability.Explain(err, capability.BPF, capability.Perfmon, capability.NetAdmin))
	}
	return objects, nil
}

func (g *Guest) constants() map[string]any {
	var inspected [settings.Ports]uint8
	for port, window := range g.cfg.Inspect.Windows() {
		if bodies, _ := g.cfg.Inspect.BodiesOf(uint16(port)); window > 0 && bodies != (settings.Bodies{}) {
			window |= bodiesWanted
		}
		inspected[bits.ReverseBytes16(uint16(port))] = window // the index is in network byte order
	}
	return map[string]any{
		"netns":           g.netns,
		"inspected_ports": inspected,
		"wanted_seed":     g.vantage.words.seed,
		"wanted_mask":     uint32(g.vantage.words.mask),
	}
}

// programName returns a program's name in bpf/inspect/inspect.bpf.c.
func programName(d tc.Direction, begin tc.Headers) string {
	if begin == tc.HeadersNone {
		return "inspect_" + d.String() + "_l3"
	}
	return "inspect_" + d.String() + "_eth"
}

// program loads the programs for interfaces without link headers when the first one needs
// them.
func (g *Guest) program(d tc.Direction, begin tc.Headers) (*ebpf.Program, error) {
	name := programName(d, begin)
	if g.objects.Programs[name] == nil {
		more, err := g.load(begin)
		if err != nil {
			return nil, err
		}
		defer more.Close()
		g.mu.Lock()
		defer g.mu.Unlock()
		for name := range more.Programs {
			g.objects.Programs[name] = more.DetachProgram(name)
		}
	}
	return g.objects.Programs[name], nil
}

// Look implements tc.Follower.
func (g *Guest) Look(view *tc.View) {
	_, check, err := g.addresses.Look(view)
	var value uint32
	if check {
		value = 1
	}
	if err = errors.Join(err, g.objects.Variables["look_at_address"].Set(value)); err != nil {
		g.logger.Warn("requests that are only forwarded are inspected, too", zap.Error(err))
	}
}

// Enter implements tc.Follower.
func (g *Guest) Enter(tc.Interface) error { return nil }

// Rename implements tc.Follower.
func (g *Guest) Rename(tc.Interface) {}

// Leave implements tc.Follower.
func (g *Guest) Leave(tc.Interface) {}

// Hooks returns one state per direction, over all interfaces. failed is why nothing could
// begin; nil otherwise.
func (g *Guest) Hooks(failed error) []hook.State {
	g.mu.Lock()
	defer g.mu.Unlock()
	var attached []tc.State
	if g.attached != nil {
		attached = g.attached.States()
	}
	states := make([]hook.State, 0, tc.Directions)
	for d := range tc.Directions {
		state := hook.State{
			Feature: hook.FeatureInspect, Name: tc.Mode(g.cfg.TCMode).Hook(d) + "/inspect", Gives: Gives, Err: errors.Join(failed, g.err),
		}
		if attached != nil {
			state.Name, state.Attached = attached[d].Hook+"/inspect", attached[d].Attached
			state.Err = errors.Join(state.Err, attached[d].Err)
		}
		if g.objects != nil {
			state.AddStatistics(g.objects.Programs[programName(d, tc.HeadersEthernet)])
			state.AddStatistics(g.objects.Programs[programName(d, tc.HeadersNone)])
		}
		states = append(states, state)
	}
	return states
}

// Stop comes before Detach, so that several vantage points share one time limit.
func (g *Guest) Stop(limit time.Time) {
	if g.attached != nil {
		g.attached.Stop(limit)
	}
}

// LetGo releases the namespace before the programs are detached.
func (g *Guest) LetGo() error {
	if g.attached == nil {
		return nil
	}
	return g.attached.LetGo()
}

// Detach removes the programs from all interfaces. The manager must still be open.
func (g *Guest) Detach() error {
	if g.attached == nil {
		return nil
	}
	err := g.attached.Remove()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.attached = nil
	return err
}

// Maps are those of the programs; nil without programs.
func (g *Guest) Maps() map[string]*ebpf.Map {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.objects == nil {
		return nil
	}
	return g.objects.Maps
}

// Close frees everything after Detach. It may be called twice.
func (g *Guest) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.addresses = nil
	if g.objects != nil {
		g.objects.Close()
		g.objects = nil
	}
}
