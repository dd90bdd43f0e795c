// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

const tcGives = "tcp.server.packets, malformed headers, selected packets, half-open attempts"

// tcOptions is what the packet vantage point gets from the probe.
type tcOptions struct {
	// maps are shared with the socket vantage point, by name.
	maps map[string]*ebpf.Map
	// netns is the inode of our network namespace, ports its table of those with a
	// listener.
	netns uint32
	ports *ebpf.Map
	// ownNetNS is the namespace that the probe was made in.
	ownNetNS uint32
	// shares are those that network namespaces have of the shared maps.
	shares *shared.Shares
	// refusedAtEgress reports refused attempts by the resets that leave, but for those of
	// the kernel itself where a tracepoint tells of them.
	refusedAtEgress, tracepointTellsRefused bool
	// interfaces that have counters of their own; 0 = as bpf/tc/counters.h has it.
	interfaces uint32
	// trial is for a moment: one interface that is selected will do, nothing is
	// followed, and what dead instances left stays.
	trial bool
}

// tcVantage is the packet vantage point in one network namespace: TC programs on its
// interfaces. A goroutine follows interfaces as they come, go and change their names,
// from start to detach.
type tcVantage struct {
	cfg     *Config
	options tcOptions
	logger  *zap.Logger
	// stopBy is set to detach: nothing is attached any more, and other instances are
	// waited for until then.
	stopBy atomic.Pointer[time.Time]

	// changing serialises what attaches and detaches. It is held while the kernel and
	// other instances are waited for, which takes seconds where many interfaces come at
	// once, and guards what only changes need. It is taken before mu.
	changing  sync.Mutex
	selection tcSelection
	// namespace and the netlink sockets keep it alive: they are for as long as it is
	// followed.
	namespace *netns.Namespace
	netlink   *netlink.Handle
	watch     *tcWatch
	done      chan struct{}
	attacher  *tcAttacher
	addresses *tcAddressTable
	// overflowing: the kernel's table does not hold all local addresses.
	overflowing bool
	removed     tcRemovals
	// tryAgain is when interfaces that could not be attached to are tried without a change.
	tryAgain time.Time
	sweeper  *tcSweeper

	// mu guards what counters and hooks read, which the goroutine that drains the ring
	// calls: nothing waits while it is held. A change writes with both held, so it reads
	// with either.
	mu      sync.Mutex
	objects *ebpf.Collection
	// loadErr is why there are no programs.
	loadErr    error
	mode       TCMode
	counts     *tcCounters
	interfaces map[int]*tcInterface
	// failures are interfaces that could not be attached to, by index.
	failures map[int]error

	// names of all its interfaces by index; read while a change is under way.
	names atomic.Pointer[map[uint32]string]
}

// newTCVantage does not touch the kernel yet.
func newTCVantage(cfg *Config, options tcOptions, logger *zap.Logger) *tcVantage {
	v := &tcVantage{
		cfg:        cfg,
		options:    options,
		logger:     logger,
		selection:  tcSelection{include: cfg.IncludeInterfaces, exclude: cfg.ExcludeInterfaces},
		mode:       cfg.TCMode,
		interfaces: make(map[int]*tcInterface),
		failures:   make(map[int]error),
	}
	if len(v.selection.include) == 0 {
		v.selection.include = []string{"*"}
	}
	return v
}

// start attaches to what is there in the caller's namespace and follows what comes.
// It fails only for what the configuration names and the host does not have; then
// nothing is attached. What the kernel refuses is in hooks.
func (v *tcVantage) start() error {
	namespace, err := netns.OpenThread()
	if err != nil {
		return v.disable(err)
	}
	links, err := v.open(namespace)
	if err != nil {
		return v.disable(err)
	}
	idle, err := v.selection.checkNames(links)
	if err != nil {
		return errors.Join(err, v.close())
	}
	for _, pattern := range idle {
		v.logger.Warn("no interface matches yet", zap.String("interfaces::include", pattern))
	}
	if err := v.begin(); err != nil {
		return v.disable(err)
	}
	return nil
}

// startIn does the same in a namespace that need not have the interfaces that are
// named. The namespace is closed with the vantage point, or when it fails.
func (v *tcVantage) startIn(namespace *netns.Namespace) error {
	_, err := v.open(namespace)
	if err == nil {
		err = v.begin()
	}
	if err != nil {
		return errors.Join(err, v.close())
	}
	return nil
}

// open makes the sockets, which stay in the namespace, and takes a first look.
func (v *tcVantage) open(namespace *netns.Namespace) (links map[int]netlink.Link, err error) {
	v.namespace = namespace
	err = namespace.Run(func() error {
		if v.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
			return fmt.Errorf("open a netlink socket: %w", err)
		}
		// Before the first look, so that no change falls between the two.
		if v.watch, err = newTCWatch(); err != nil {
			return err
		}
		links, err = v.links()
		return err
	})
	return links, err
}

func (v *tcVantage) begin() error {
	v.attacher = newTCAttacher(v.cfg, v.netlink, &v.stopBy, v.logger)
	v.attacher.leaveDead = v.options.trial
	if err := v.load(); err != nil {
		return err
	}
	err := v.namespace.Run(func() error {
		v.reconcile()
		if !v.options.trial {
			v.removeDead()
		}
		return nil
	})
	if err != nil || v.options.trial {
		return err
	}
	v.done = make(chan struct{})
	go v.follow(v.watch, v.done)
	return nil
}

func (v *tcVantage) follow(watch *tcWatch, done chan<- struct{}) {
	defer close(done)
	changed := func() {
		if err := v.reconcileThere(); err != nil {
			v.logger.Warn("a change of interfaces is not followed", zap.Error(err))
		}
	}
	err := watch.run(changed, func() {
		if v.lacksHooks() {
			changed()
		}
	})
	if err != nil {
		v.logger.Error("no longer watching for new interfaces", zap.Error(err))
	}
}

// reconcileThere reconciles inside, for TCX attaches by an interface index that is
// the thread's namespace's, and /proc/sys/net is, too.
func (v *tcVantage) reconcileThere() error {
	return v.namespace.Run(func() error {
		v.reconcile()
		return nil
	})
}

// disable leaves a vantage point whose hooks only say why it is of no use.
func (v *tcVantage) disable(err error) error {
	v.loadErr = err
	if err := v.close(); err != nil {
		v.logger.Warn("cleaning up after the packet vantage point", zap.Error(err))
	}
	return nil
}

// counters are running totals; those of interfaces that are gone are kept by name.
func (v *tcVantage) counters() []packet.Interface {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.counts == nil {
		return nil
	}
	all, err := v.counts.all(v.interfaces)
	if err != nil {
		v.logger.Warn("packet counters are incomplete", zap.Error(err))
	}
	return all
}

// sweepHalfOpen reports handshakes that took longer than the timeout, of all
// namespaces: they share a map.
func (v *tcVantage) sweepHalfOpen(h fact.Sink, name func(netns, index uint32) string) {
	if !v.cfg.HalfOpen || v.sweeper == nil {
		return
	}
	if err := v.sweeper.sweep(h, name); err != nil {
		v.logger.Warn("some half-open attempts are not reported", zap.Error(err))
	}
}

// sweptHalfOpen is the number of failed attempts that the sweep produced so far, on
// top of those in the kernel's ledger.
func (v *tcVantage) sweptHalfOpen() int64 {
	if v.sweeper == nil {
		return 0
	}
	return v.sweeper.produced
}

// lostHalfOpen is the number of those that found no room, in the map or in the share of
// their namespace, and did not end in time.
func (v *tcVantage) lostHalfOpen() (full, share int64) {
	if v.sweeper == nil {
		return 0, 0
	}
	return v.sweeper.marks.lost[shared.CauseMapFull], v.sweeper.marks.lost[shared.CauseMapShare]
}

// interfaceName is "" for an interface that is gone.
func (v *tcVantage) interfaceName(index uint32) string {
	if names := v.names.Load(); names != nil {
		return (*names)[index]
	}
	return ""
}

// maxHookErrors bounds the interfaces that a hook's error names.
const maxHookErrors = 3

// hooks has one state per direction, over all interfaces.
func (v *tcVantage) hooks() []HookState {
	v.mu.Lock()
	defer v.mu.Unlock()
	states := make([]HookState, 0, tcDirections)
	for d := range tcDirections {
		state := HookState{Feature: hook.FeaturePacket, Name: tcHookName(v.mode, d), Gives: tcGives, Err: v.loadErr}
		for _, i := range v.interfaces {
			state.Attached = state.Attached || i.hooks[d] != nil
		}
		if err := v.attachErrors(); err != nil {
			state.Err = errors.Join(state.Err, err)
		}
		if v.objects != nil {
			state.AddStatistics(v.objects.Programs[tcProgram(d, headersEthernet)])
			state.AddStatistics(v.objects.Programs[tcProgram(d, headersNone)])
		}
		states = append(states, state)
	}
	return states
}

func (v *tcVantage) attachErrors() error {
	var indexes []int
	for index := range v.failures {
		indexes = append(indexes, index)
	}
	slices.Sort(indexes)
	var err error
	for _, index := range indexes[:min(len(indexes), maxHookErrors)] {
		err = errors.Join(err, v.failures[index])
	}
	if more := len(indexes) - maxHookErrors; more > 0 {
		err = errors.Join(err, fmt.Errorf("and %d more interfaces", more))
	}
	return err
}

// detach takes the programs off all interfaces, stops following them and lets the
// namespace go. Counters can still be read.
func (v *tcVantage) detach() error {
	v.stop(time.Now().Add(tcLockWait))
	err := v.unfollow()
	v.changing.Lock()
	defer v.changing.Unlock()
	err = errors.Join(err, v.detachFrom(slices.Collect(maps.Values(v.interfaces))))
	v.release()
	return err
}

// stop comes before detach, for several vantage points to have one limit.
func (v *tcVantage) stop(limit time.Time) { v.stopBy.CompareAndSwap(nil, &limit) }

func (v *tcVantage) unfollow() error {
	var err error
	if v.watch != nil {
		err = v.watch.close()
		v.watch = nil
	}
	if v.done != nil {
		<-v.done
		v.done = nil
	}
	return err
}

// release closes what keeps the namespace alive, sockets in it included.
func (v *tcVantage) release() {
	if v.attacher != nil {
		v.attacher.close()
	}
	if v.netlink != nil {
		v.netlink.Close()
		v.netlink = nil
	}
	if v.namespace != nil {
		v.namespace.Close()
		v.namespace = nil
	}
}

// close gives up everything. It may be called twice.
func (v *tcVantage) close() error {
	err := v.detach()
	v.changing.Lock()
	defer v.changing.Unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts, v.addresses, v.sweeper = nil, nil, nil
	if v.objects != nil {
		v.objects.Close()
		v.objects = nil
	}
	return err
}
