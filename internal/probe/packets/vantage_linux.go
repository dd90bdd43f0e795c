// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package packets

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

const (
	// pollPause is the interval of searches for namespaces. Their files cannot be
	// watched, because a namespace is mounted on its file after the file was created.
	pollPause = 250 * time.Millisecond
	// retryPause is the time until a failed namespace is tried again.
	retryPause = 10 * time.Second
	// namespacesAtOnce are entered or left in parallel. Each waits for the verifier, for
	// the kernel's grace periods and for other instances.
	namespacesAtOnce = 8
	// interfacesPerNamespace have counters of their own in each namespace except ours.
	interfacesPerNamespace = 15
	// maxEndedInterfaces bounds the last counts of vanished namespaces, which wait for
	// the next snapshot. Further ones are added to otherInterfaces.
	maxEndedInterfaces = 1024
)

// PortTables hands out tables of the ports that have a listener.
type PortTables interface {
	// Enter gives a namespace a table, which is kept up to date until Leave.
	Enter(netns uint32) (*ebpf.Map, error)
	// SYNs has the counters of SYNs by place in the table, until Leave; nil if nobody asks.
	SYNs(netns uint32) *ebpf.Map
	Leave(netns uint32) error
}

// Options are what the vantage point gets from the probe.
type Options struct {
	Config *settings.Config
	// Managers attach the programs.
	Managers *tc.Registry
	// Maps are shared with the socket vantage point, by name.
	Maps map[string]*ebpf.Map
	// OwnNetNS is the inode of our network namespace, and OwnPorts its port table. Tables
	// has those of others.
	OwnNetNS uint32
	OwnPorts *ebpf.Map
	Tables   PortTables
	// Shares are those that network namespaces have of the shared maps.
	Shares *shared.Shares
	// RefusedAtEgress reports refused attempts by the resets that leave, except those of
	// the kernel itself where a tracepoint reports them.
	RefusedAtEgress, TracepointReportsRefused bool
	// ResetsAtEgress counts per source the resets that leave and that no socket sends.
	ResetsAtEgress bool
	// HalfOpenTimeout gets each attempt that timed out; it may be nil.
	HalfOpenTimeout func(*shared.HalfOpenKey)
	// Companions attach further programs beside ours.
	Companions []Companion
	Logger     *zap.Logger
}

// Vantage observes packets in all its network namespaces: in our own from Start to Detach,
// and in those of the configuration while their files exist. A goroutine looks for these.
// None is kept alive after its file is gone.
type Vantage struct {
	options *Options
	own     *namespace
	// refused says why there is only our own namespace.
	refused error

	stop chan struct{}
	done chan struct{}
	// failed namespaces could not be entered, with the time of the next try. The
	// goroutine owns them and generation; mu guards them while namespaces are entered.
	failed     map[uint32]time.Time
	generation uint32

	mu sync.Mutex
	// others are by inode, without ours.
	others map[uint32]*other
	counts NetworkNamespaces
	// ended are unread counts of interfaces whose namespace is gone.
	ended []packet.Interface
	// endedHooks are the statistics of their programs.
	endedHooks []hook.State
}

// other is the vantage point in a namespace of the configuration.
type other struct {
	*namespace
	inode uint32
	path  string
	// generation differs from that of an earlier namespace with the same inode number.
	generation uint32
}

// New does not change the kernel.
func New(options *Options) *Vantage {
	return &Vantage{
		options: options,
		own:     newNamespace(options, options.OwnNetNS, options.OwnPorts, options.Logger),
		failed:  make(map[uint32]time.Time),
		others:  make(map[uint32]*other),
	}
}

// Start fails only for named interfaces that our namespace lacks.
func (v *Vantage) Start() error {
	if err := v.own.start(); err != nil {
		return err
	}
	if len(v.options.Config.NetworkNamespaces) == 0 {
		return nil
	}
	if err := v.own.loadErr; err != nil {
		v.refused = err
		return nil
	}
	if err := hook.MayEnterNetNS(v.options.Config.ExcludeHooks); err != nil {
		v.refused = fmt.Errorf("interfaces::network_namespaces: %w", err)
		return nil
	}
	v.stop, v.done = make(chan struct{}), make(chan struct{})
	go v.follow(v.stop, v.done)
	return nil
}

func (v *Vantage) follow(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(pollPause)
	defer ticker.Stop()
	v.tellUnmatched()
	for {
		v.reconcile(stop)
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// tellUnmatched logs patterns that match nothing at start. Containers can come later, but a
// wrong pattern would never be noticed.
func (v *Vantage) tellUnmatched() {
	for _, pattern := range v.options.Config.NetworkNamespaces {
		if len(netns.Find([]string{pattern})) == 0 {
			v.options.Logger.Info("no network namespace matches interfaces::network_namespaces yet", zap.String("pattern", pattern))
		}
	}
}

// reconcile enters new namespaces and leaves vanished ones.
func (v *Vantage) reconcile(stop <-chan struct{}) {
	found := netns.Find(v.options.Config.NetworkNamespaces)
	if v.options.Config.Scope == settings.ScopeInitialUserNS {
		netns.LeaveOutForeign(found)
	}
	delete(found, v.options.OwnNetNS)
	var gone []*other
	for inode, other := range v.others {
		if _, ok := found[inode]; !ok {
			gone = append(gone, other)
			if err := other.letGo(); err != nil {
				v.options.Logger.Warn("failed to detach from a network namespace", zap.String("path", other.path), zap.Error(err))
			}
		}
	}
	sideBySide(gone, v.leave)
	for inode := range v.failed {
		if _, ok := found[inode]; !ok {
			delete(v.failed, inode)
		}
	}
	room := int(v.options.Config.MaxNetworkNamespaces) - len(v.others)
	var wanted []*other
	over := 0
	for inode, path := range found {
		switch {
		case v.others[inode] != nil || time.Now().Before(v.failed[inode]):
		case len(wanted) == room:
			over++
		default:
			v.generation++
			wanted = append(wanted, &other{inode: inode, path: path, generation: v.generation})
		}
	}
	v.tally(over)
	sideBySide(wanted, func(other *other) {
		select {
		case <-stop:
		default:
			v.enter(other)
		}
	})
}

// tally warns once there are more namespaces than room.
func (v *Vantage) tally(over int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if over > 0 && v.counts.OverLimit == 0 {
		v.options.Logger.Warn("interfaces::network_namespaces matches more than limits::network_namespaces allows: packets in the others are not counted",
			zap.Uint32("limits::network_namespaces", v.options.Config.MaxNetworkNamespaces), zap.Int("over the limit", over))
	}
	v.counts = NetworkNamespaces{Attached: len(v.others), Failed: len(v.failed), OverLimit: over}
}

// enter reports a failure once and tries again later. A namespace that vanished meanwhile
// is no failure.
func (v *Vantage) enter(other *other) {
	err := v.open(other)
	if err != nil {
		if inode, ok := netns.At(other.path); !ok || inode != other.inode {
			v.options.Logger.Debug("a network namespace vanished before its packets were counted",
				zap.String("path", other.path), zap.Uint32("inode", other.inode), zap.Error(err))
			return
		}
	}
	logger := v.options.Logger.With(zap.String("path", other.path), zap.Uint32("inode", other.inode))
	v.mu.Lock()
	defer v.mu.Unlock()
	if err == nil {
		delete(v.failed, other.inode)
		v.others[other.inode] = other
		logger.Debug("counting packets in a network namespace")
	} else {
		if _, known := v.failed[other.inode]; !known {
			logger.Warn("packets of a network namespace are not counted", zap.Error(err))
		}
		v.failed[other.inode] = time.Now().Add(retryPause)
	}
	v.counts.Attached, v.counts.Failed = len(v.others), len(v.failed)
}

func (v *Vantage) open(other *other) error {
	namespace, err := netns.Open(other.path)
	if err != nil {
		return err
	}
	if namespace.Inode != other.inode {
		namespace.Close()
		return fmt.Errorf("%s is now another namespace", other.path)
	}
	ports, err := v.options.Tables.Enter(other.inode)
	if err != nil {
		namespace.Close()
		return err
	}
	other.namespace = newNamespace(v.options, other.inode, ports, v.options.Logger.With(zap.String("network_namespace", other.path)))
	other.slots = interfacesPerNamespace
	if err := other.startIn(namespace); err != nil {
		return errors.Join(err, v.options.Tables.Leave(other.inode))
	}
	return nil
}

// leave keeps the last counts for the next snapshot.
func (v *Vantage) leave(other *other) {
	err := other.detach()
	last, states := other.counters(), other.hooks()

	v.mu.Lock()
	delete(v.others, other.inode)
	v.counts.Attached = len(v.others)
	if v.endedHooks == nil {
		v.endedHooks = make([]hook.State, len(states))
	}
	for i := range v.endedHooks {
		v.endedHooks[i].Add(&states[i])
	}
	left := v.keep(last)
	v.mu.Unlock()
	v.own.keepOther(left)

	err = errors.Join(err, v.options.Tables.Leave(other.inode), other.close())
	if err != nil {
		v.options.Logger.Warn("failed to detach from a network namespace", zap.String("path", other.path), zap.Error(err))
	}
}

// keep returns the counts without room. The caller holds mu.
func (v *Vantage) keep(last []packet.Interface) (left []packet.Interface) {
	for _, i := range last {
		switch {
		case !i.Counted():
		case len(v.ended) < maxEndedInterfaces:
			v.ended = append(v.ended, i)
		default:
			left = append(left, i)
		}
	}
	return left
}

// Counters returns running totals. Those of a vanished namespace come once, and before those
// of a new one with the same number.
func (v *Vantage) Counters() []packet.Interface {
	all := v.own.counters()
	// Held while reading, so that each namespace is among either the existing or the
	// vanished ones. Otherwise its totals would seem to begin again.
	v.mu.Lock()
	defer v.mu.Unlock()
	all = append(all, v.ended...)
	v.ended = nil
	for _, other := range v.others {
		all = append(all, other.counters()...)
	}
	return all
}

// counters returns the vantage point's counters with their namespace.
func (o *other) counters() []packet.Interface {
	all := o.namespace.counters()
	for i := range all {
		all[i].NetNS, all[i].Generation = o.inode, o.generation
	}
	return all
}

// Namespaces counts those of the configuration.
func (v *Vantage) Namespaces() NetworkNamespaces {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.counts
}

// InterfaceName returns "" for a vanished namespace or interface.
func (v *Vantage) InterfaceName(netns, index uint32) string {
	if netns == v.options.OwnNetNS {
		return v.own.interfaceName(index)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if other := v.others[netns]; other != nil {
		return other.interfaceName(index)
	}
	return ""
}

// SweepHalfOpen reports handshakes that took longer than the timeout, of all namespaces:
// they share a map.
func (v *Vantage) SweepHalfOpen(h fact.Sink) { v.own.sweepHalfOpen(h, v.InterfaceName) }

// SweptHalfOpen is the number of failed attempts that sweeps reported so far. The kernel's
// ledger does not contain them.
func (v *Vantage) SweptHalfOpen() int64 { return v.own.sweptHalfOpen() }

// LostHalfOpen is the number of attempts that found no room, in the map or in the share of
// their namespace, and did not end in time.
func (v *Vantage) LostHalfOpen() (full, share int64) { return v.own.lostHalfOpen() }

// Hooks returns one state per program and direction, over all interfaces of all namespaces,
// and one for the namespaces of the configuration.
func (v *Vantage) Hooks() []hook.State {
	states := v.own.hooks()
	v.mu.Lock()
	defer v.mu.Unlock()
	for i := range v.endedHooks {
		states[i].Add(&v.endedHooks[i])
	}
	for _, other := range v.others {
		theirs := other.hooks()
		for d := range states {
			states[d].Add(&theirs[d])
			states[d].Attached = states[d].Attached || theirs[d].Attached
			if states[d].Err == nil && theirs[d].Err != nil {
				states[d].Err = fmt.Errorf("in %s: %w", other.path, theirs[d].Err)
			}
		}
	}
	if len(v.options.Config.NetworkNamespaces) > 0 {
		states = append(states, hook.State{
			Feature:  hook.FeatureNetworkNamespaces,
			Name:     "tc/network_namespaces",
			Gives:    Gives + ", in other network namespaces",
			Attached: v.refused == nil,
			Err:      v.refused,
		})
	}
	return states
}

// Maps are the programs' own in our namespace, and those they share; nil without programs.
func (v *Vantage) Maps() map[string]*ebpf.Map { return v.own.maps() }

// GuestMaps are those of the companions' programs in our namespace.
func (v *Vantage) GuestMaps() map[string]*ebpf.Map { return v.own.guestMaps() }

// Detach removes all programs and releases the namespaces. Counters can still be read.
func (v *Vantage) Detach() error {
	if v.stop != nil {
		close(v.stop)
		<-v.done
		v.stop = nil
	}
	all := []*namespace{v.own}
	for _, other := range v.others {
		all = append(all, other.namespace)
	}
	limit := time.Now().Add(tc.LockWait)
	for _, n := range all {
		n.stop(limit)
	}
	var mu sync.Mutex
	var err error
	sideBySide(all, func(n *namespace) {
		detachErr := n.detach()
		mu.Lock()
		defer mu.Unlock()
		err = errors.Join(err, detachErr)
	})
	return err
}

// Close frees everything. It may be called twice.
func (v *Vantage) Close() error {
	err := v.Detach()
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, other := range v.others {
		err = errors.Join(err, other.close(), v.options.Tables.Leave(other.inode))
	}
	clear(v.others)
	return errors.Join(err, v.own.close())
}

// sideBySide calls f for each item, for some of them in parallel, and waits for all.
func sideBySide[T any](items []T, f func(T)) {
	var running sync.WaitGroup
	places := make(chan struct{}, namespacesAtOnce)
	for _, item := range items {
		places <- struct{}{}
		running.Go(func() {
			f(item)
			<-places
		})
	}
	running.Wait()
}
