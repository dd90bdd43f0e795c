// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"errors"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/local"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets/halfopen"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

const Gives = "tcp.server.packets, malformed headers, selected packets, half-open attempts"

// Name and order of the observing program among those of this process. Programs that block
// run before it, so that packets that they drop are not counted.
const (
	observe      = "observe"
	observeOrder = 200
)

// namespace is the vantage point in one network namespace: the observing programs, which a
// tc.Manager attaches, and their counts.
type namespace struct {
	options *Options
	cfg     *settings.Config
	// inode is the namespace's, ports its table of ports with a listener, and syns the counters
	// of SYNs by place in that table, or nil.
	inode       uint32
	ports, syns *ebpf.Map
	// slots is how many interfaces have counters of their own; 0 is the number in
	// bpf/tc/counters.h.
	slots  uint32
	logger *zap.Logger

	// manager exists from open to detach, attached from begin on.
	manager  *tc.Manager
	attached *tc.Attached
	// guests are the programs of others in this namespace.
	guests []Guest
	// Calls of the manager use it.
	addresses *local.Table

	sweeper *halfopen.Sweeper

	// mu guards what counters and hooks read. The goroutine that drains the ring buffer
	// calls them, so nothing waits while mu is held.
	mu      sync.Mutex
	objects *ebpf.Collection
	// loadErr is why there are no programs.
	loadErr error
	counts  *counters
	// interfaces have counters of their own, by index.
	interfaces map[int]*counted
}

// counted is an interface whose packets are counted.
type counted struct {
	name string
	slot uint32
	// before has the counts under earlier names.
	before totals
}

// newNamespace does not change the kernel.
func newNamespace(options *Options, inode uint32, ports *ebpf.Map, logger *zap.Logger) *namespace {
	n := &namespace{
		options: options, cfg: options.Config, inode: inode, ports: ports, logger: logger,
		interfaces: make(map[int]*counted),
	}
	if options.Tables != nil {
		n.syns = options.Tables.SYNs(inode)
	}
	for _, companion := range options.Companions {
		n.guests = append(n.guests, companion(inode, ports, logger))
	}
	return n
}

func (n *namespace) selection() tc.Selection {
	return tc.Selection{Include: n.cfg.IncludeInterfaces, Exclude: n.cfg.ExcludeInterfaces}
}

// start attaches to the interfaces of the caller's namespace and follows new ones. It fails
// only for interfaces that the configuration names and the host lacks, and then attaches
// nothing. hooks reports refusals by the kernel.
func (n *namespace) start() error {
	namespace, err := netns.OpenThread()
	if err != nil {
		return n.disable(err)
	}
	if n.manager, err = n.options.Managers.Open(namespace); err != nil {
		return n.disable(err)
	}
	selection := n.selection()
	idle, err := n.manager.Check(&selection)
	var missing tc.NoInterfaceError
	switch {
	case errors.As(err, &missing):
		return errors.Join(err, n.close())
	case err != nil:
		return n.disable(err)
	}
	for _, pattern := range idle {
		n.logger.Warn("no interface matches yet", zap.String("interfaces::include", pattern))
	}
	if err := n.begin(); err != nil {
		return n.disable(err)
	}
	return nil
}

// startIn does the same in another namespace, which may lack the named interfaces. The
// namespace is closed with the vantage point, or after a failure.
func (n *namespace) startIn(namespace *netns.Namespace) (err error) {
	if n.manager, err = n.options.Managers.Open(namespace); err == nil {
		err = n.begin()
	}
	if err != nil {
		return errors.Join(err, n.close())
	}
	return nil
}

func (n *namespace) begin() error {
	if err := n.load(); err != nil {
		return err
	}
	attached, err := n.manager.Add(&tc.Program{
		Name:       observe,
		Order:      observeOrder,
		Mode:       tc.Mode(n.cfg.TCMode),
		First:      n.cfg.TCFirst,
		Refuse:     hook.Patterns(n.cfg.ExcludeHooks).Refuse,
		Interfaces: n.selection(),
		Load:       n.program,
		Follower:   n,
		Logger:     n.logger,
	})
	if err != nil {
		return err
	}
	n.mu.Lock()
	n.attached = attached
	n.mu.Unlock()
	for _, guest := range n.guests {
		guest.Begin(n.manager)
	}
	return nil
}

// Look sets the local addresses, and whether the programs have to look them up. It precedes
// any count of forwarded packets.
func (n *namespace) Look(view *tc.View) {
	known, check, err := n.addresses.Look(view)
	if err = errors.Join(err, n.setAddressesKnown(known), n.setLookFurther(check)); err != nil {
		n.logger.Warn("forwarded packets count as this host's", zap.Error(err))
	}
}

// Enter gives an interface counters of its own.
func (n *namespace) Enter(i tc.Interface) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	slot, err := n.counts.assign(i.Index)
	if err == nil {
		n.interfaces[i.Index] = &counted{name: i.Name, slot: slot}
	}
	return err
}

// Rename adds the counts so far to the old name.
func (n *namespace) Rename(i tc.Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if known := n.interfaces[i.Index]; known != nil {
		n.retire(known)
		known.name = i.Name
	}
}

// Leave frees the counters.
func (n *namespace) Leave(i tc.Interface) {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := n.interfaces[i.Index]
	if known == nil {
		return
	}
	n.retire(known)
	if err := n.counts.release(i.Index, known.slot); err != nil {
		n.logger.Warn("failed to free the counters of an interface", zap.String("interface", i.Name), zap.Error(err))
	}
	delete(n.interfaces, i.Index)
}

// retire adds the counts so far to the interface's name. The caller holds mu.
func (n *namespace) retire(i *counted) {
	if i.slot == 0 {
		return
	}
	total, err := n.counts.read(i.slot)
	if err != nil {
		n.logger.Warn("packet counters are lost", zap.String("interface", i.name), zap.Error(err))
		return
	}
	counted := *total
	counted.subtract(&i.before)
	n.counts.keep(i.name, &counted)
	i.before = *total
}

// disable leaves a vantage point whose hooks only report why it does not work.
func (n *namespace) disable(err error) error {
	n.loadErr = err
	if err := n.close(); err != nil {
		n.logger.Warn("failed to clean up packet programs", zap.Error(err))
	}
	return nil
}

// counters returns running totals. Those of vanished interfaces are kept by name.
func (n *namespace) counters() []packet.Interface {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.counts == nil {
		return nil
	}
	all, err := n.counts.all(n.interfaces)
	if err != nil {
		n.logger.Warn("packet counters are incomplete", zap.Error(err))
	}
	return all
}

// sweepHalfOpen reports handshakes that took longer than the timeout, of all
// namespaces: they share a map.
func (n *namespace) sweepHalfOpen(h fact.Sink, name func(netns, index uint32) string) {
	if !n.cfg.HalfOpen || n.sweeper == nil {
		return
	}
	if err := n.sweeper.Sweep(h, name); err != nil {
		n.logger.Warn("some half-open attempts are not reported", zap.Error(err))
	}
}

// sweptHalfOpen is the number of failed attempts that the sweep produced so far, on
// top of those in the kernel's ledger.
func (n *namespace) sweptHalfOpen() int64 {
	if n.sweeper == nil {
		return 0
	}
	return n.sweeper.Produced()
}

// lostHalfOpen is the number of those that found no room, in the map or in the share of
// their namespace, and did not end in time.
func (n *namespace) lostHalfOpen() (full, share int64) {
	if n.sweeper == nil {
		return 0, 0
	}
	return n.sweeper.Lost()
}

// interfaceName returns "" for a vanished interface.
func (n *namespace) interfaceName(index uint32) string {
	if n.manager == nil {
		return ""
	}
	return n.manager.InterfaceName(index)
}

// hooks returns one state per program and direction, over all interfaces.
func (n *namespace) hooks() []hook.State {
	n.mu.Lock()
	defer n.mu.Unlock()
	var attached []tc.State
	if n.attached != nil {
		attached = n.attached.States()
	}
	states := make([]hook.State, 0, tc.Directions)
	for d := range tc.Directions {
		state := hook.State{Feature: hook.FeaturePacket, Name: tc.Mode(n.cfg.TCMode).Hook(d), Gives: Gives, Err: n.loadErr}
		if attached != nil {
			state.Name, state.Attached = attached[d].Hook, attached[d].Attached
			if err := attached[d].Err; err != nil {
				state.Err = errors.Join(state.Err, err)
			}
		}
		if n.objects != nil {
			state.AddStatistics(n.objects.Programs[programName(d, tc.HeadersEthernet)])
			state.AddStatistics(n.objects.Programs[programName(d, tc.HeadersNone)])
		}
		states = append(states, state)
	}
	for _, guest := range n.guests {
		states = append(states, guest.Hooks(n.loadErr)...)
	}
	return states
}

// detach removes the programs from all interfaces and releases the namespace. Counters can
// still be read.
func (n *namespace) detach() error {
	n.stop(time.Now().Add(tc.LockWait))
	err := n.detachGuests()
	if n.attached != nil {
		err = errors.Join(err, n.attached.Remove())
	}
	if n.manager != nil {
		err = errors.Join(err, n.manager.Close())
		n.manager = nil
	}
	return err
}

// stop comes before detach, so that several vantage points share one time limit.
func (n *namespace) stop(limit time.Time) {
	for _, guest := range n.guests {
		guest.Stop(limit)
	}
	if n.attached != nil {
		n.attached.Stop(limit)
	}
}

// letGo releases the namespace before the programs are detached, if that is possible.
func (n *namespace) letGo() error {
	n.stop(time.Now().Add(tc.LockWait))
	var err error
	for _, guest := range n.guests {
		err = errors.Join(err, guest.LetGo())
	}
	return errors.Join(err, n.attached.LetGo())
}

// maps returns those of the programs; nil without programs.
func (n *namespace) maps() map[string]*ebpf.Map {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.objects == nil {
		return nil
	}
	return n.objects.Maps
}

// close frees everything. It may be called twice.
func (n *namespace) close() error {
	err := n.detach()
	for _, guest := range n.guests {
		guest.Close()
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.counts, n.addresses, n.sweeper = nil, nil, nil
	if n.objects != nil {
		n.objects.Close()
		n.objects = nil
	}
	return err
}
