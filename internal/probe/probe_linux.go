// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cilium/ebpf/ringbuf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Probe is the kernel side of one receiver. Its methods are called from one
// goroutine at a time, in the order New, Start, Drain and Snapshot as wanted,
// Detach, Drain and Snapshot once more, Close.
type Probe struct {
	cfg Config
	// ownNetNS is the inode number of the collector's own network namespace.
	ownNetNS    uint32
	logger      *zap.Logger
	objects     *objects
	attachments []*hook.Attachment
	tc          *tcNamespaces
	scans       scans
	shares      *shared.Shares
	reader      *ringbuf.Reader
	record      ringbuf.Record
	decoder     decoder
	gone        goneConnections
	// stale counts the entries that forget deleted.
	stale int64
	// goneListeners and staleListeners are the same of listeners.
	goneListeners  goneListeners
	staleListeners int64
	// lostListeners is the ledger's count when the listeners were last scanned.
	lostListeners int64
	// sought are the listeners without a port that were looked for among open files.
	sought map[uint64]bool
}

// New creates the maps; nothing of the kernel's is touched before Start.
func New(cfg Config, logger *zap.Logger) (*Probe, error) {
	return newOn(hook.NewHost(cfg.ExcludeHooks, nil), cfg, logger)
}

func newOn(host *hook.Host, cfg Config, logger *zap.Logger) (*Probe, error) {
	cfg.RingBytes = ringSize(cfg.RingBytes)
	p := &Probe{cfg: cfg, logger: logger, gone: make(goneConnections), sought: make(map[uint64]bool)}
	var err error
	if p.ownNetNS, err = netns.Current(); err != nil {
		return nil, err
	}
	if p.objects, err = newObjects(&p.cfg, p.ownNetNS, host); err != nil {
		return nil, err
	}
	p.shares = shared.NewShares(p.objects.maps.Maps, shared.CapacitiesOf(&p.cfg), p.ownNetNS)
	if p.reader, err = ringbuf.NewReader(p.objects.maps.Maps["records"]); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), p.Close())
	}
	return p, nil
}

// Start attaches what can be attached, then looks for listeners and connections
// that were there before, which it hands to h. When no hook attaches, and the operator
// can do something about that, it fails; else Hooks tells.
func (p *Probe) Start(h fact.Sink) error {
	if err := p.decoder.clock.Refresh(); err != nil {
		return err
	}
	netns := p.ownNetNS
	p.decoder.handler, p.decoder.ownNetNS = h, netns
	p.decoder.maxListeners = tablesPerMap * int(shared.CapacitiesOf(&p.cfg)[shared.RoomListeners])
	p.decoder.unbound = make(map[uint64]shared.ListenRecord)
	if p.cfg.ByPort() {
		p.decoder.selectedPorts = p.cfg.SelectedPorts()
	}
	p.decoder.absent = p.objects.host.Absent()
	p.decoder.listeners = newListeners(p.objects.maps.Maps, p.decoder.selectedPorts)
	p.decoder.backlogless = newBacklogless(p.objects.maps.Maps)

	p.attachHooks()
	p.decoder.overflowsCounted = p.attached(hook.FeatureOverflowSYN) && p.attached(hook.FeatureOverflowACK) && p.attached(hook.FeatureOverflowACK6)
	if p.cfg.Overflows && !p.decoder.overflowsCounted {
		p.decoder.overflowing = newNamespaceOverflows(netns, p.decoder.maxListeners, p.decoder.selectedPorts != nil)
	}
	if err := p.startTC(netns); err != nil {
		return err
	}
	if err := p.anyAttached(); capability.Mendable(err) {
		return err
	}
	p.scans.load(p)
	p.objects.host.Forget()
	if err := p.scanExisting(); err != nil {
		logger := p.logger.With(zap.Error(err))
		logger.Warn("not all listeners and connections that were there before were found")
	}
	return nil
}

func (p *Probe) attachHooks() {
	for _, f := range features(&p.cfg, p.objects.host) {
		if !f.Wanted {
			continue
		}
		p.attachments = append(p.attachments, p.objects.hooks.Attach(f))
	}
}

// attached tells whether a feature has found a way.
func (p *Probe) attached(feature string) bool {
	return slices.ContainsFunc(p.attachments, func(a *hook.Attachment) bool {
		return a.Name == feature && a.Attached()
	})
}

func (p *Probe) anyAttached() error {
	var all []error
	for _, state := range p.Hooks() {
		if state.Attached {
			return nil
		}
		all = append(all, state.Err)
	}
	return fmt.Errorf("no hook of the kernel could be attached: %w", capability.Summarize(all))
}

// drainCheck is the number of records between two looks at the clock.
const drainCheck = 256

// Drain hands over records until the given time has passed and the ring buffer is
// empty; of one that never runs empty it leaves the rest for the next call.
func (p *Probe) Drain(until time.Time) error {
	if err := p.decoder.clock.Refresh(); err != nil {
		return err
	}
	if err := p.drain(until); err != nil {
		return err
	}
	return p.findPorts()
}

func (p *Probe) drain(until time.Time) error {
	p.reader.SetDeadline(until)
	for n := 1; ; n++ {
		err := p.reader.ReadInto(&p.record)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("read the ring buffer: %w", err)
		}
		p.decoder.ring(p.record.RawSample)
		// A ring that never runs empty must not keep the caller from its snapshot.
		if n%drainCheck == 0 && time.Now().After(until) {
			return nil
		}
	}
}

// OwnNetNS is the inode number of the network namespace that the probe was made in.
func (p *Probe) OwnNetNS() uint32 { return p.ownNetNS }

// Hooks tells how each hook that was asked for does.
func (p *Probe) Hooks() []HookState {
	states := make([]HookState, 0, len(p.attachments)+8)
	for _, a := range p.attachments {
		states = append(states, a.States()...)
	}
	states = append(states, p.scans.states()...)
	states = append(states, p.objects.host.MissingMembers(p.cfg.Process)...)
	if p.tc != nil {
		states = append(states, p.tc.hooks()...)
	}
	return states
}

// Detach takes every program off the kernel. What is in the ring buffer and the
// maps can still be read.
func (p *Probe) Detach() error {
	var err error
	if p.tc != nil {
		err = p.tc.detach()
	}
	// In the reverse order: no connection opens that could not close.
	for i := len(p.attachments) - 1; i >= 0; i-- {
		err = errors.Join(err, p.attachments[i].Detach())
	}
	return err
}

// Close gives up what is left. It may be called without Start, and twice.
func (p *Probe) Close() error {
	err := p.Detach()
	if p.tc != nil {
		err = errors.Join(err, p.tc.close())
		p.tc = nil
	}
	for _, a := range p.attachments {
		err = errors.Join(err, a.Close())
	}
	p.attachments = nil
	err = errors.Join(err, p.scans.close())
	if p.reader != nil {
		err = errors.Join(err, p.reader.Close())
		p.reader = nil
	}
	if p.decoder.listeners != nil {
		err = errors.Join(err, p.decoder.listeners.close())
	}
	if p.objects != nil {
		p.objects.close()
		p.objects = nil
	}
	return err
}
