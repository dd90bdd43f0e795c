// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package sockets is the vantage point on sockets: hooks on what the kernel does with them,
// scans for what was there before, and the maps that the hooks fill.
package sockets

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/listening"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/live"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Options are what a Vantage needs.
type Options struct {
	Config  *settings.Config
	Host    *hook.Host
	Context *record.Context
	// Maps are the shared maps.
	Maps   map[string]*ebpf.Map
	Shares *shared.Shares
	// Looks takes each look at an open connection; nil when nobody asks.
	Looks  *live.Looks
	Logger *zap.Logger
}

// Vantage is the vantage point on sockets. Its methods are called from one goroutine at a
// time: Attach, Scan, then those that read, Detach, Close.
type Vantage struct {
	Options
	// Listeners follows listening sockets.
	Listeners *listening.Follower
	// Decoder decodes the records of the hooks.
	Decoder *Decoder
	// Attachments are the features that were wanted, in the order in which they attached.
	Attachments []*hook.Attachment

	hooks, iterators hook.Object
	// sections are the constants and variables of the hooks.
	sections *ebpf.Collection
	// held and connections find what processes hold, orphans what none does.
	held, connections, orphans hook.Iterator
	live                       *look.Ladder[shared.LiveRecord]
	gone                       goneConnections
	// stale counts the connections whose end the hooks missed.
	stale int64
}

// listenersPerEntry is how many listeners are distinguished for each that the kernel's map has
// room for. Those beyond the map are reported without their queues.
const listenersPerEntry = 4

// New prepares the programs. Nothing is attached yet.
func New(o Options) (*Vantage, error) {
	v := &Vantage{Options: o, gone: make(goneConnections)}
	hooks, iterators, err := v.programs()
	if err != nil {
		return nil, err
	}
	v.hooks = hook.Object{Host: o.Host, Spec: hooks, Maps: shared.MapsOf(hooks, o.Maps)}
	v.iterators = hook.Object{Host: o.Host, Spec: iterators, Maps: shared.MapsOf(iterators, o.Maps)}
	if v.sections, err = ebpf.NewCollection(sectionsOf(hooks)); err != nil {
		return nil, fmt.Errorf("create the hooks' constants: %w", capability.Explain(err, capability.NeedsOfMaps()...))
	}
	maps.Copy(v.hooks.Maps, v.sections.Maps)

	listeners := listening.Options{
		Context: o.Context, Maps: o.Maps, Shares: o.Shares, Looks: o.Looks,
		Services: o.Config.Sources.Services, Namespaces: o.Config.Sources.Services || o.Config.Sources.Namespaces,
	}
	listeners.Max = listenersPerEntry * int(shared.CapacitiesOf(o.Config)[shared.RoomListeners])
	if o.Config.ByPort() {
		listeners.Selected = o.Config.SelectedPorts()
	}
	v.Listeners = listening.New(listeners)
	v.Decoder = NewDecoder(o.Context, o.Host.Absent(), v.Listeners)
	v.Decoder.looks = o.Looks
	v.prepareScans()
	return v, nil
}

// sectionsOf describes an object's constants and variables (.rodata, .bss) alone. All its
// programs share them, although each program is loaded on its own.
func sectionsOf(object *ebpf.CollectionSpec) *ebpf.CollectionSpec {
	spec := object.Copy()
	clear(spec.Programs)
	maps.DeleteFunc(spec.Maps, func(name string, _ *ebpf.MapSpec) bool { return !shared.IsSection(name) })
	return spec
}

// Sections are the maps of the hooks' constants and variables.
func (v *Vantage) Sections() map[string]*ebpf.Map { return v.sections.Maps }

// Attach attaches the hooks of the features that are wanted.
func (v *Vantage) Attach() {
	for _, f := range Features(v.Config, v.Host) {
		if f.Wanted {
			v.Attachments = append(v.Attachments, v.hooks.Attach(f))
		}
	}
	counted := v.Attached(hook.FeatureOverflowSYN) && v.Attached(hook.FeatureOverflowACK) && v.Attached(hook.FeatureOverflowACK6)
	v.Listeners.CountOverflows(counted, v.Config.Overflows)
}

// Attached reports whether a feature has found a way.
func (v *Vantage) Attached(feature string) bool {
	return slices.ContainsFunc(v.Attachments, func(a *hook.Attachment) bool {
		return a.Name == feature && a.Attached()
	})
}

// States describes the hooks that were asked for.
func (v *Vantage) States() []hook.State {
	var states []hook.State
	for _, a := range v.Attachments {
		states = append(states, a.States()...)
	}
	return append(states, v.scanStates()...)
}

// Diagnose tries every way to every feature, and detaches each at once.
func (v *Vantage) Diagnose() []hook.FeatureDiagnosis {
	var all []hook.FeatureDiagnosis
	for _, f := range Features(v.Config, v.Host) {
		all = append(all, v.hooks.Diagnose(f))
	}
	for _, scan := range v.scans() {
		all = append(all, scan.Diagnose(&v.iterators))
	}
	return append(all, v.live.Diagnose(), v.Listeners.Queues.Diagnose())
}

// Detach takes the hooks off the kernel. What they recorded can still be read.
func (v *Vantage) Detach() error {
	var err error
	// In the reverse order: no connection opens that could not close.
	for _, a := range slices.Backward(v.Attachments) {
		err = errors.Join(err, a.Detach())
	}
	return err
}

// Close gives up what is left. The hooks of all vantage points must be detached.
func (v *Vantage) Close() error {
	err := v.Detach()
	for _, a := range v.Attachments {
		err = errors.Join(err, a.Close())
	}
	v.Attachments = nil
	err = errors.Join(err, v.closeScans(), v.Listeners.Ports.Close())
	v.sections.Close()
	return err
}
