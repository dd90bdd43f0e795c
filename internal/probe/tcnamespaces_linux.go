// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/listening"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

const (
	// tcNamespacePoll is how often namespaces are looked for: their files can't be
	// watched, for a namespace is mounted on its file after that was made.
	tcNamespacePoll = 250 * time.Millisecond
	// tcNamespaceRetry is the time until one that failed is tried again.
	tcNamespaceRetry = 10 * time.Second
	// tcNamespacesAtOnce are entered or left side by side: each waits for the verifier,
	// for the kernel's grace periods and for other instances.
	tcNamespacesAtOnce = 8
	// tcNamespaceInterfaces have counters of their own in each namespace but ours.
	tcNamespaceInterfaces = 15
	// maxEndedInterfaces bounds the last counts of namespaces that are gone, which
	// wait for the next snapshot; further ones are added to otherInterfaces.
	maxEndedInterfaces = 1024
)

// tcNamespaces is the packet vantage point in all its network namespaces: our own
// from start to stop, and those of the configuration while their files are there. A
// goroutine looks for these; none is kept alive after its file is gone.
type tcNamespaces struct {
	cfg     *Config
	options tcOptions
	ports   *listening.Ports
	logger  *zap.Logger
	own     *tcVantage
	// refused is why there is none but our own.
	refused error

	stop chan struct{}
	done chan struct{}
	// failed are those that could not be entered, and when to try again: the
	// goroutine's, and mu's while namespaces are entered. The generation is the
	// goroutine's.
	failed     map[uint32]time.Time
	generation uint32

	mu sync.Mutex
	// others are by inode, ours is not among them.
	others map[uint32]*tcOther
	counts NetworkNamespaces
	// ended are the counts of interfaces whose namespace is gone, not read yet.
	ended []packet.Interface
	// endedHooks are the statistics of their programs.
	endedHooks [tc.Directions]HookState
}

// tcOther is the vantage point in a namespace of the configuration.
type tcOther struct {
	*tcVantage
	inode uint32
	path  string
	// generation tells it from one that had the same inode number before.
	generation uint32
}

// newTCNamespaces does not touch the kernel yet. The options are our namespace's.
func newTCNamespaces(cfg *Config, options tcOptions, ports *listening.Ports, logger *zap.Logger) *tcNamespaces {
	return &tcNamespaces{
		cfg:     cfg,
		options: options,
		ports:   ports,
		logger:  logger,
		own:     newTCVantage(cfg, options, logger),
		failed:  make(map[uint32]time.Time),
		others:  make(map[uint32]*tcOther),
	}
}

// start fails only for interfaces that are named and that our namespace does not have.
func (m *tcNamespaces) start() error {
	if err := m.own.start(); err != nil {
		return err
	}
	if len(m.cfg.NetworkNamespaces) == 0 {
		return nil
	}
	if err := m.own.loadErr; err != nil {
		m.refused = err
		return nil
	}
	if err := hook.MayEnterNetNS(m.cfg.ExcludeHooks); err != nil {
		m.refused = fmt.Errorf("interfaces::network_namespaces: %w", err)
		return nil
	}
	m.stop, m.done = make(chan struct{}), make(chan struct{})
	go m.follow(m.stop, m.done)
	return nil
}

func (m *tcNamespaces) follow(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	ticker := time.NewTicker(tcNamespacePoll)
	defer ticker.Stop()
	m.tellUnmatched()
	for {
		m.reconcile(stop)
		select {
		case <-stop:
			return
		case <-ticker.C:
		}
	}
}

// tellUnmatched names patterns that match nothing at start: containers may come later,
// but a pattern that is wrong would never say so.
func (m *tcNamespaces) tellUnmatched() {
	for _, pattern := range m.cfg.NetworkNamespaces {
		if len(netns.Find([]string{pattern})) == 0 {
			m.logger.Info("no network namespace matches interfaces::network_namespaces yet", zap.String("pattern", pattern))
		}
	}
}

// reconcile makes the namespaces that we are in agree with those that are there.
func (m *tcNamespaces) reconcile(stop <-chan struct{}) {
	found := netns.Find(m.cfg.NetworkNamespaces)
	if m.cfg.Scope == ScopeInitialUserNS {
		netns.LeaveOutForeign(found)
	}
	delete(found, m.options.netns)
	var gone []*tcOther
	for inode, other := range m.others {
		if _, ok := found[inode]; !ok {
			gone = append(gone, other)
			if err := other.letGo(); err != nil {
				m.logger.Warn("leaving a network namespace", zap.String("path", other.path), zap.Error(err))
			}
		}
	}
	sideBySide(gone, m.leave)
	for inode := range m.failed {
		if _, ok := found[inode]; !ok {
			delete(m.failed, inode)
		}
	}
	room := int(m.cfg.MaxNetworkNamespaces) - len(m.others)
	var wanted []*tcOther
	over := 0
	for inode, path := range found {
		switch {
		case m.others[inode] != nil || time.Now().Before(m.failed[inode]):
		case len(wanted) == room:
			over++
		default:
			m.generation++
			wanted = append(wanted, &tcOther{inode: inode, path: path, generation: m.generation})
		}
	}
	m.tally(over)
	sideBySide(wanted, func(other *tcOther) {
		select {
		case <-stop:
		default:
			m.enter(other)
		}
	})
}

// tally warns when there begin to be more than there is room for.
func (m *tcNamespaces) tally(over int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if over > 0 && m.counts.OverLimit == 0 {
		m.logger.Warn("interfaces::network_namespaces matches more than limits::network_namespaces allows: packets in the others are not counted",
			zap.Uint32("limits::network_namespaces", m.cfg.MaxNetworkNamespaces), zap.Int("over the limit", over))
	}
	m.counts = NetworkNamespaces{Attached: len(m.others), Failed: len(m.failed), OverLimit: over}
}

// enter reports a failure once and tries again later. A namespace that vanished
// meanwhile is no failure.
func (m *tcNamespaces) enter(other *tcOther) {
	err := m.open(other)
	if err != nil {
		if inode, ok := netns.At(other.path); !ok || inode != other.inode {
			m.logger.Debug("a network namespace vanished before its packets were counted",
				zap.String("path", other.path), zap.Uint32("inode", other.inode), zap.Error(err))
			return
		}
	}
	logger := m.logger.With(zap.String("path", other.path), zap.Uint32("inode", other.inode))
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		delete(m.failed, other.inode)
		m.others[other.inode] = other
		logger.Debug("looking at packets in a network namespace")
	} else {
		if _, known := m.failed[other.inode]; !known {
			logger.Warn("packets of a network namespace are not counted", zap.Error(err))
		}
		m.failed[other.inode] = time.Now().Add(tcNamespaceRetry)
	}
	m.counts.Attached, m.counts.Failed = len(m.others), len(m.failed)
}

func (m *tcNamespaces) open(other *tcOther) error {
	namespace, err := netns.Open(other.path)
	if err != nil {
		return err
	}
	if namespace.Inode != other.inode {
		namespace.Close()
		return fmt.Errorf("%s is another namespace by now", other.path)
	}
	options := m.options
	options.netns, options.interfaces = other.inode, tcNamespaceInterfaces
	if options.ports, err = m.ports.Enter(other.inode); err != nil {
		namespace.Close()
		return err
	}
	other.tcVantage = newTCVantage(m.cfg, options, m.logger.With(zap.String("network_namespace", other.path)))
	if err := other.startIn(namespace); err != nil {
		return errors.Join(err, m.ports.Leave(other.inode))
	}
	return nil
}

// leave keeps the last counts for the next snapshot.
func (m *tcNamespaces) leave(other *tcOther) {
	err := other.detach()
	last, states := other.counters(), other.hooks()

	m.mu.Lock()
	delete(m.others, other.inode)
	m.counts.Attached = len(m.others)
	for d := range m.endedHooks {
		m.endedHooks[d].Add(&states[d])
	}
	left := m.keep(last)
	m.mu.Unlock()
	m.own.keepOther(left)

	err = errors.Join(err, m.ports.Leave(other.inode), other.close())
	if err != nil {
		m.logger.Warn("leaving a network namespace", zap.String("path", other.path), zap.Error(err))
	}
}

// keep returns what there is no room for. It is for callers that hold mu.
func (m *tcNamespaces) keep(last []packet.Interface) (left []packet.Interface) {
	for _, i := range last {
		switch {
		case !i.Counted():
		case len(m.ended) < maxEndedInterfaces:
			m.ended = append(m.ended, i)
		default:
			left = append(left, i)
		}
	}
	return left
}

// counters of namespaces that are gone come once, and before those of a new one with
// the same number.
func (m *tcNamespaces) counters() []packet.Interface {
	all := m.own.counters()
	// Held while reading: each namespace is among those that are there or those that
	// are gone, or its totals would seem to begin anew.
	m.mu.Lock()
	defer m.mu.Unlock()
	all = append(all, m.ended...)
	m.ended = nil
	for _, other := range m.others {
		all = append(all, other.counters()...)
	}
	return all
}

// counters are the vantage point's, with the namespace that they are of.
func (o *tcOther) counters() []packet.Interface {
	all := o.tcVantage.counters()
	for i := range all {
		all[i].NetNS, all[i].Generation = o.inode, o.generation
	}
	return all
}

func (m *tcNamespaces) namespaces() NetworkNamespaces {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.counts
}

// interfaceName is "" for a namespace or an interface that is gone.
func (m *tcNamespaces) interfaceName(netns, index uint32) string {
	if netns == m.options.netns {
		return m.own.interfaceName(index)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.others[netns]; other != nil {
		return other.interfaceName(index)
	}
	return ""
}

func (m *tcNamespaces) sweepHalfOpen(h fact.Sink) { m.own.sweepHalfOpen(h, m.interfaceName) }

func (m *tcNamespaces) sweptHalfOpen() int64 { return m.own.sweptHalfOpen() }

func (m *tcNamespaces) lostHalfOpen() (full, share int64) { return m.own.lostHalfOpen() }

// hooks has one state per direction, over all interfaces of all namespaces, and one
// for the namespaces of the configuration.
func (m *tcNamespaces) hooks() []HookState {
	states := m.own.hooks()
	m.mu.Lock()
	defer m.mu.Unlock()
	for d := range states {
		states[d].Add(&m.endedHooks[d])
	}
	for _, other := range m.others {
		theirs := other.hooks()
		for d := range states {
			states[d].Add(&theirs[d])
			states[d].Attached = states[d].Attached || theirs[d].Attached
			if states[d].Err == nil && theirs[d].Err != nil {
				states[d].Err = fmt.Errorf("in %s: %w", other.path, theirs[d].Err)
			}
		}
	}
	if len(m.cfg.NetworkNamespaces) > 0 {
		states = append(states, HookState{
			Feature:  hook.FeatureNetworkNamespaces,
			Name:     "tc/network_namespaces",
			Gives:    tcGives + ", in other network namespaces",
			Attached: m.refused == nil,
			Err:      m.refused,
		})
	}
	return states
}

// detach takes the programs off everywhere and lets the namespaces go. Counters can
// still be read.
func (m *tcNamespaces) detach() error {
	if m.stop != nil {
		close(m.stop)
		<-m.done
		m.stop = nil
	}
	all := []*tcVantage{m.own}
	for _, other := range m.others {
		all = append(all, other.tcVantage)
	}
	limit := time.Now().Add(tc.LockWait)
	for _, v := range all {
		v.stop(limit)
	}
	var mu sync.Mutex
	var err error
	sideBySide(all, func(v *tcVantage) {
		detachErr := v.detach()
		mu.Lock()
		defer mu.Unlock()
		err = errors.Join(err, detachErr)
	})
	return err
}

// close gives up everything. It may be called twice.
func (m *tcNamespaces) close() error {
	err := m.detach()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.others {
		err = errors.Join(err, other.close(), m.ports.Leave(other.inode))
	}
	clear(m.others)
	return errors.Join(err, m.own.close())
}

// sideBySide calls f for each item, for some of them at a time, and waits for all.
func sideBySide[T any](items []T, f func(T)) {
	var running sync.WaitGroup
	places := make(chan struct{}, tcNamespacesAtOnce)
	for _, item := range items {
		places <- struct{}{}
		running.Go(func() {
			f(item)
			<-places
		})
	}
	running.Wait()
}
