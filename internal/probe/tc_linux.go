// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/tc"
)

const tcGives = "tcp.server.packets, malformed headers, selected packets, half-open attempts"

// The program that observes, among those of this process on an interface. Programs that
// block run before it, so that what they drop is not counted.
const (
	tcProgramName  = "observe"
	tcProgramOrder = 200
)

// tcOptions is what the packet vantage point gets from the probe.
type tcOptions struct {
	// managers attach the programs.
	managers *tc.Registry
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
	// refusedAtEgress reports refused attempts by the resets that leave, except those of
	// the kernel itself where a tracepoint reports them.
	refusedAtEgress, tracepointTellsRefused bool
	// interfaces that have counters of their own; 0 = as bpf/tc/counters.h has it.
	interfaces uint32
}

// tcVantage is the packet vantage point in one network namespace: the programs that
// observe, which a tc.Manager attaches, and what they count.
type tcVantage struct {
	cfg     *Config
	options tcOptions
	logger  *zap.Logger

	// manager is there from open to detach, attached from begin on.
	manager  *tc.Manager
	attached *tc.Attached
	// The manager's calls use these.
	addresses *tcAddressTable
	// overflowing: the kernel's table does not hold all local addresses.
	overflowing bool

	sweeper *tcSweeper

	// mu guards what counters and hooks read, which the goroutine that drains the ring
	// calls: nothing waits while it is held.
	mu      sync.Mutex
	objects *ebpf.Collection
	// loadErr is why there are no programs.
	loadErr error
	counts  *tcCounters
	// interfaces have counters of their own, by index.
	interfaces map[int]*tcInterface
}

// tcInterface is an interface that packets are counted of.
type tcInterface struct {
	name string
	slot uint32
	// before is what was counted under an earlier name.
	before tcTotals
}

// newTCVantage does not touch the kernel yet.
func newTCVantage(cfg *Config, options tcOptions, logger *zap.Logger) *tcVantage {
	return &tcVantage{cfg: cfg, options: options, logger: logger, interfaces: make(map[int]*tcInterface)}
}

func (v *tcVantage) selection() tc.Selection {
	return tc.Selection{Include: v.cfg.IncludeInterfaces, Exclude: v.cfg.ExcludeInterfaces}
}

// start attaches to what is there in the caller's namespace and follows what comes.
// It fails only for interfaces that the configuration names and the host lacks; then
// nothing is attached. hooks tells what the kernel refuses.
func (v *tcVantage) start() error {
	namespace, err := netns.OpenThread()
	if err != nil {
		return v.disable(err)
	}
	if v.manager, err = v.options.managers.Open(namespace); err != nil {
		return v.disable(err)
	}
	selection := v.selection()
	idle, err := v.manager.Check(&selection)
	var missing tc.NoInterfaceError
	switch {
	case errors.As(err, &missing):
		return errors.Join(err, v.close())
	case err != nil:
		return v.disable(err)
	}
	for _, pattern := range idle {
		v.logger.Warn("no interface matches yet", zap.String("interfaces::include", pattern))
	}
	if err := v.begin(); err != nil {
		return v.disable(err)
	}
	return nil
}

// startIn does the same in a namespace that may lack the interfaces that are named. The
// namespace is closed with the vantage point, or when it fails.
func (v *tcVantage) startIn(namespace *netns.Namespace) (err error) {
	if v.manager, err = v.options.managers.Open(namespace); err == nil {
		err = v.begin()
	}
	if err != nil {
		return errors.Join(err, v.close())
	}
	return nil
}

func (v *tcVantage) begin() error {
	if err := v.load(); err != nil {
		return err
	}
	attached, err := v.manager.Add(&tc.Program{
		Name:       tcProgramName,
		Order:      tcProgramOrder,
		Mode:       tc.Mode(v.cfg.TCMode),
		First:      v.cfg.TCFirst,
		Refuse:     hook.Patterns(v.cfg.ExcludeHooks).Refuse,
		Interfaces: v.selection(),
		Load:       v.program,
		Follower:   v,
		Logger:     v.logger,
	})
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.attached = attached
	return nil
}

// Enter gives an interface counters of its own.
func (v *tcVantage) Enter(i tc.Interface) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	slot, err := v.counts.assign(i.Index)
	if err == nil {
		v.interfaces[i.Index] = &tcInterface{name: i.Name, slot: slot}
	}
	return err
}

// Rename books what was counted so far under the old name.
func (v *tcVantage) Rename(i tc.Interface) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if known := v.interfaces[i.Index]; known != nil {
		v.retire(known)
		known.name = i.Name
	}
}

// Leave gives the counters back.
func (v *tcVantage) Leave(i tc.Interface) {
	v.mu.Lock()
	defer v.mu.Unlock()
	known := v.interfaces[i.Index]
	if known == nil {
		return
	}
	v.retire(known)
	if err := v.counts.release(i.Index, known.slot); err != nil {
		v.logger.Warn("leaving an interface", zap.String("interface", i.Name), zap.Error(err))
	}
	delete(v.interfaces, i.Index)
}

// retire books what was counted so far under the interface's name. It is for callers
// that hold mu.
func (v *tcVantage) retire(i *tcInterface) {
	if i.slot == 0 {
		return
	}
	total, err := v.counts.read(i.slot)
	if err != nil {
		v.logger.Warn("packet counters are lost", zap.String("interface", i.name), zap.Error(err))
		return
	}
	counted := *total
	counted.subtract(&i.before)
	v.counts.keep(i.name, &counted)
	i.before = *total
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
	if v.manager == nil {
		return ""
	}
	return v.manager.InterfaceName(index)
}

// hooks has one state per direction, over all interfaces.
func (v *tcVantage) hooks() []HookState {
	v.mu.Lock()
	defer v.mu.Unlock()
	var attached []tc.State
	if v.attached != nil {
		attached = v.attached.States()
	}
	states := make([]HookState, 0, tc.Directions)
	for d := range tc.Directions {
		state := HookState{Feature: hook.FeaturePacket, Name: tc.Mode(v.cfg.TCMode).Hook(d), Gives: tcGives, Err: v.loadErr}
		if attached != nil {
			state.Name, state.Attached = attached[d].Hook, attached[d].Attached
			if err := attached[d].Err; err != nil {
				state.Err = errors.Join(state.Err, err)
			}
		}
		if v.objects != nil {
			state.AddStatistics(v.objects.Programs[tcProgram(d, tc.HeadersEthernet)])
			state.AddStatistics(v.objects.Programs[tcProgram(d, tc.HeadersNone)])
		}
		states = append(states, state)
	}
	return states
}

// detach takes the programs off all interfaces and lets the namespace go. Counters can
// still be read.
func (v *tcVantage) detach() error {
	v.stop(time.Now().Add(tc.LockWait))
	var err error
	if v.attached != nil {
		err = v.attached.Remove()
	}
	if v.manager != nil {
		err = errors.Join(err, v.manager.Close())
		v.manager = nil
	}
	return err
}

// stop comes before detach, for several vantage points to have one limit.
func (v *tcVantage) stop(limit time.Time) {
	if v.attached != nil {
		v.attached.Stop(limit)
	}
}

// letGo releases the namespace before the programs are detached, where that is possible.
func (v *tcVantage) letGo() error {
	v.stop(time.Now().Add(tc.LockWait))
	return v.manager.LetGo()
}

// close gives up everything. It may be called twice.
func (v *tcVantage) close() error {
	err := v.detach()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.counts, v.addresses, v.sweeper = nil, nil, nil
	if v.objects != nil {
		v.objects.Close()
		v.objects = nil
	}
	return err
}
