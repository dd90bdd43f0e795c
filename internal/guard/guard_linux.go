// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package guard

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"sync"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

// Name and order of the program among those of this process: before those that observe.
const (
	programName = "guard"
	order       = 100
)

// Guard is the maps and the program in one network namespace. All methods may be called at
// the same time.
type Guard struct {
	options Options
	clock   clock
	objects *ebpf.Collection
	// addresses is used by calls of the manager.
	addresses *local.Table

	manager  *tc.Manager
	attached *tc.Attached
	// cutting is held while connections are ended, which takes a while with many namespaces. It
	// guards cutter, which is nil if nothing was cut yet.
	cutting sync.Mutex
	cutter  *cutter

	// mu guards the rest.
	mu sync.Mutex
	// count is the number of entries of both maps.
	count int
	// networks are the entries of the map of networks; high counts them by IPv4 /16.
	networks map[netip.Prefix]struct{}
	high     map[uint16]int
	six      int
	allowed  map[netip.Prefix]struct{}
}

// New loads the programs and attaches nothing. Nothing is blocked until Renew.
func New(options Options) (*Guard, error) {
	g := &Guard{
		options: options, networks: make(map[netip.Prefix]struct{}), high: make(map[uint16]int),
		allowed: make(map[netip.Prefix]struct{}),
	}
	spec, err := loadGuard()
	if err != nil {
		return nil, fmt.Errorf("read the guard's object: %w", err)
	}
	if g.clock, err = newClock(spec); err != nil {
		return nil, explain(err)
	}
	if err := g.configure(spec); err != nil {
		return nil, errors.Join(err, g.clock.close())
	}
	if g.objects, err = ebpf.NewCollection(spec); err != nil {
		return nil, errors.Join(fmt.Errorf("load the guard's programs: %w", explain(err)), g.clock.close())
	}
	g.addresses = local.New(g.objects, options.Logger)
	return g, nil
}

func explain(err error) error {
	return capability.Explain(err, capability.BPF, capability.Perfmon, capability.NetAdmin)
}

// configure sets sizes and constants.
func (g *Guard) configure(spec *ebpf.CollectionSpec) error {
	delete(spec.Programs, clockProgram)
	for name, entries := range map[string]int{
		guardMapBlocked: g.options.Sources, guardMapNetworks: g.options.Networks, guardMapAllowed: g.options.Allowed,
	} {
		spec.Maps[name].MaxEntries = uint32(max(entries, 1))
	}
	for name, value := range map[string]any{
		guardVarPrefix6:          halves(mask6(g.options.IPv6Prefix)),
		guardVarOnlyTcp:          !g.options.AllProtocols,
		guardVarOnlyLocal:        !g.options.Forwarded,
		guardVarJiffiesPerSecond: g.clock.perSecond,
		guardVarSharePlaces:      ebpf.MustPossibleCPU() > len(guardBlock{}.Counts),
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s of the guard's programs: %w", name, err)
		}
	}
	return nil
}

func mask6(bits int) (mask netip.Addr) {
	var raw [16]byte
	for i := range bits {
		raw[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom16(raw)
}

// halves are an address as the programs see it.
func halves(address netip.Addr) guardAddress {
	raw := address.As16()
	return guardAddress{Halves: [2]uint64{binary.NativeEndian.Uint64(raw[:8]), binary.NativeEndian.Uint64(raw[8:])}}
}

// Start attaches the program to interfaces of the caller's network namespace, and follows new
// ones. It fails for an interface that is named and does not exist. States tells refusals.
func (g *Guard) Start() error {
	namespace, err := netns.OpenThread()
	if err != nil {
		return err
	}
	if g.manager, err = g.options.Managers.Open(namespace); err != nil {
		return err
	}
	selection := tc.Selection{Include: g.options.IncludeInterfaces, Exclude: g.options.ExcludeInterfaces}
	idle, err := g.manager.Check(&selection)
	if err != nil {
		return err
	}
	for _, pattern := range idle {
		g.options.Logger.Warn("no interface matches yet", zap.String("interfaces", pattern))
	}
	g.attached, err = g.manager.Add(&tc.Program{
		Name: programName, Order: order, Mode: g.options.TCMode, First: true,
		Interfaces: selection, Load: g.program, Follower: g, Logger: g.options.Logger,
	})
	return err
}

func (g *Guard) program(d tc.Direction, begin tc.Headers) (*ebpf.Program, error) {
	switch {
	case d == tc.Egress:
		return g.objects.Programs[guardProgGuardEgress], nil
	case begin == tc.HeadersNone:
		return g.objects.Programs[guardProgGuardIngressL3], nil
	}
	return g.objects.Programs[guardProgGuardIngressEth], nil
}

// Look implements tc.Follower. A host address that is not known is not guarded.
func (g *Guard) Look(view *tc.View) {
	known, _, err := g.addresses.Look(view)
	if err != nil || !known {
		g.options.Logger.Warn("packets to some addresses of this host are not blocked", zap.Error(err))
	}
}

// Enter implements tc.Follower.
func (*Guard) Enter(tc.Interface) error { return nil }

// Rename implements tc.Follower.
func (*Guard) Rename(tc.Interface) {}

// Leave implements tc.Follower.
func (*Guard) Leave(tc.Interface) {}

// States has one state per direction, over all interfaces; nil before Start.
func (g *Guard) States() []State {
	if g.attached == nil {
		return nil
	}
	var states []State
	for _, s := range g.attached.States() {
		states = append(states, State{Hook: s.Hook, Attached: s.Attached, Err: s.Err})
	}
	return states
}

// Interfaces lists those that the program is attached to.
func (g *Guard) Interfaces() []string {
	if g.attached == nil {
		return nil
	}
	return g.attached.Interfaces()
}

// Renew lets blocks hold for FailOpenAfter from now on.
func (g *Guard) Renew() error {
	until, err := g.clock.after(g.options.FailOpenAfter)
	if err != nil {
		return err
	}
	return g.setDeadline(until)
}

// LetPass lets everything pass from now on, until Renew.
func (g *Guard) LetPass() error { return g.setDeadline(0) }

// Holds tells whether the deadline is in the future.
func (g *Guard) Holds() (bool, error) {
	memory, err := g.objects.Maps[stateTable].Memory()
	if err != nil {
		return false, err
	}
	var raw [8]byte
	if _, err := memory.ReadAt(raw[:], deadlineOffset); err != nil {
		return false, err
	}
	now, err := g.clock.now()
	return now < binary.NativeEndian.Uint64(raw[:]), err
}

// Totals adds the counts of all CPUs.
func (g *Guard) Totals() (sum Totals, err error) {
	var perCPU []guardOutcomeCounts
	if err := g.objects.Maps[guardMapTotals].Lookup(uint32(0), &perCPU); err != nil {
		return sum, fmt.Errorf("read the guard's counts: %w", err)
	}
	for i := range perCPU {
		for o := range Outcomes {
			sum.Packets[o] += perCPU[i].Packets[o]
			sum.Bytes[o] += perCPU[i].Bytes[o]
		}
	}
	return sum, nil
}

// Close lets everything pass, detaches the program and frees the maps.
func (g *Guard) Close() error {
	err := g.LetPass()
	if g.attached != nil {
		err = errors.Join(err, g.attached.Remove())
	}
	if g.manager != nil {
		err = errors.Join(err, g.manager.Close())
	}
	g.cutting.Lock()
	defer g.cutting.Unlock()
	if g.cutter != nil {
		g.cutter.objects.Close()
	}
	g.objects.Close()
	return errors.Join(err, g.clock.close())
}

// forever is the end of a block that only Remove ends.
const forever = math.MaxUint64
