// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/ebpftcp/ebpftcpreceiver/internal/packet"
)

const tcGives = "tcp.server.packets, malformed headers, selected packets, half-open attempts"

// tcOptions is what the packet vantage point gets from the probe.
type tcOptions struct {
	// maps are shared with the socket vantage point, by name.
	maps map[string]*ebpf.Map
	// netns is the inode of our network namespace, slot its place in port_tables.
	netns, slot uint32
	// refusedAtEgress: no tracepoint tells of refused connections.
	refusedAtEgress bool
}

// tcVantage is the packet vantage point: TC programs on the interfaces of the
// network namespace it was started in. A goroutine follows interfaces as they come,
// go and change their names, from start to detach.
type tcVantage struct {
	cfg       *Config
	options   tcOptions
	logger    *zap.Logger
	selection tcSelection

	netlink *netlink.Handle
	watch   *tcWatch
	done    chan struct{}
	objects *ebpf.Collection
	// loadErr is why there are no programs.
	loadErr error
	sweeper *tcSweeper

	mu        sync.Mutex
	attacher  *tcAttacher
	counts    *tcCounters
	addresses *tcAddressTable
	// overflowing: the kernel's table does not hold all local addresses.
	overflowing bool
	interfaces  map[int]*tcInterface
	// failures are interfaces that could not be attached to, by index.
	failures map[int]error
	names    map[uint32]string
}

// newTCVantage does not touch the kernel yet.
func newTCVantage(cfg *Config, options tcOptions, logger *zap.Logger) *tcVantage {
	v := &tcVantage{
		cfg:        cfg,
		options:    options,
		logger:     logger,
		selection:  tcSelection{include: cfg.IncludeInterfaces, exclude: cfg.ExcludeInterfaces},
		interfaces: make(map[int]*tcInterface),
		failures:   make(map[int]error),
	}
	if len(v.selection.include) == 0 {
		v.selection.include = []string{"*"}
	}
	return v
}

// start attaches to what is there and follows what comes. It fails only for what
// the configuration names and the host does not have; then nothing is attached.
// What the kernel refuses is in hooks.
func (v *tcVantage) start() error {
	var err error
	if v.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return v.disable(fmt.Errorf("open a netlink socket: %w", err))
	}
	// Before the first look, so that no change falls between the two.
	if v.watch, err = newTCWatch(); err != nil {
		return v.disable(err)
	}
	links, err := v.links()
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
	if v.attacher, err = newTCAttacher(v.cfg, v.netlink); err != nil {
		return v.disable(err)
	}
	if err := v.load(); err != nil {
		return v.disable(err)
	}
	netns, err := openNetNS()
	if err != nil {
		return v.disable(err)
	}
	v.reconcile()
	v.done = make(chan struct{})
	go v.follow(v.watch, netns, v.done)
	return nil
}

// follow attaches by interface index, which is the thread's namespace's.
func (v *tcVantage) follow(watch *tcWatch, netns *netNS, done chan<- struct{}) {
	defer close(done)
	defer netns.close()
	err := netns.enter()
	if err == nil {
		err = watch.run(v.reconcile)
	}
	if err != nil {
		v.logger.Error("interfaces that appear from now on are not looked at", zap.Error(err))
	}
}

// disable leaves a vantage point whose hooks only say why it is of no use.
func (v *tcVantage) disable(err error) error {
	v.loadErr = err
	if err := v.close(); err != nil {
		v.logger.Warn("cleaning up after the packet vantage point", zap.Error(err))
	}
	return nil
}

// load creates the programs and the maps that are not shared.
func (v *tcVantage) load() error {
	spec, err := loadTc()
	if err != nil {
		return fmt.Errorf("read the packet programs' object: %w", err)
	}
	if err := setConstants(spec, v.cfg, v.constants()); err != nil {
		return err
	}
	v.objects, err = ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: sharedMaps(spec, v.options.maps),
	})
	if err != nil {
		return fmt.Errorf("load the packet programs: %w", hint(err, CapBPF, CapPerfmon, CapNetAdmin))
	}
	v.counts = newTCCounters(v.objects.Maps)
	v.addresses = newTCAddressTable(v.objects.Maps["local_addresses"])
	v.sweeper = newTCSweeper(v.cfg, v.options.maps)
	return nil
}

func (v *tcVantage) constants() map[string]any {
	var classes uint32
	for _, class := range v.cfg.PacketClasses {
		classes |= 1 << class
	}
	return map[string]any{
		"netns":              v.options.netns,
		"namespace_slot":     v.options.slot,
		"sample_rate":        v.cfg.PacketSampleRate,
		"class_mask":         classes,
		"packets_per_second": v.cfg.PacketsPerSecond,
		"emit_failed":        v.cfg.FailedRecords,
		"failed_per_second":  v.cfg.FailedPerSecond,
		"ring_wakeup_bytes":  uint64(v.cfg.RingBytes / 4),
		"track_half_open":    v.cfg.HalfOpen,
		"refused_at_egress":  v.options.refusedAtEgress,
	}
}

// programs are those of one direction.
func (v *tcVantage) programs(d tcDirection) map[headers]*ebpf.Program {
	if v.objects == nil {
		return nil
	}
	return map[headers]*ebpf.Program{
		headersEthernet: v.objects.Programs["tc_"+d.String()+"_eth"],
		headersNone:     v.objects.Programs["tc_"+d.String()+"_l3"],
	}
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

// sweepHalfOpen reports handshakes that took longer than the timeout.
func (v *tcVantage) sweepHalfOpen(h Handler) {
	if !v.cfg.HalfOpen || v.sweeper == nil {
		return
	}
	if err := v.sweeper.sweep(h, v.interfaceName); err != nil {
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

// interfaceName is "" for an interface that is gone.
func (v *tcVantage) interfaceName(index uint32) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.names[index]
}

// maxHookErrors bounds the interfaces that a hook's error names.
const maxHookErrors = 3

// hooks has one state per direction, over all interfaces.
func (v *tcVantage) hooks() []HookState {
	v.mu.Lock()
	defer v.mu.Unlock()
	states := make([]HookState, 0, tcDirections)
	for d := range tcDirections {
		state := HookState{Feature: packetFeature, Name: "tc/" + d.String(), Gives: tcGives, Err: v.loadErr}
		if v.attacher != nil {
			state.Name = v.attacher.hookName(d)
		}
		for _, i := range v.interfaces {
			state.Attached = state.Attached || i.hooks[d] != nil
		}
		if err := v.attachErrors(); err != nil {
			state.Err = errors.Join(state.Err, err)
		}
		for _, prog := range v.programs(d) {
			state.addStatistics(prog)
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

// detach takes the programs off all interfaces and stops following them. Counters
// can still be read.
func (v *tcVantage) detach() error {
	var err error
	if v.watch != nil {
		err = v.watch.close()
		v.watch = nil
	}
	if v.done != nil {
		<-v.done
		v.done = nil
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, i := range v.interfaces {
		err = errors.Join(err, i.detach())
	}
	return err
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
	if v.netlink != nil {
		v.netlink.Close()
		v.netlink = nil
	}
	return err
}
