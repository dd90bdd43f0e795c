// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"math/bits"
	"os"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/capability"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/hook"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/live"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/netns"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/packets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/record"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sockets"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/sources"
)

// Probe is the kernel side of one receiver. Its methods are called from one
// goroutine at a time, in the order New, Start, Drain and Snapshot as wanted,
// Detach, Drain and Snapshot once more, Close.
type Probe struct {
	cfg    Config
	logger *zap.Logger
	host   *hook.Host
	// maps are those that the vantage points share.
	maps    *ebpf.Collection
	shares  *shared.Shares
	sockets *sockets.Vantage
	packets *packets.Vantage
	// inspect is nil unless something is inspected.
	inspect *inspection
	// sources is nil unless sources are counted.
	sources *sources.Vantage
	// looks adds up what open connections say, for sources and services; nil when nobody asks.
	looks *live.Looks
	// servicesFail is set while reports of listeners are incomplete.
	servicesFail bool
	// detached is set once the programs are gone: what they counted is final.
	detached bool
	// passedLast is set once it was read.
	passedLast bool

	reader *ringbuf.Reader
	// raw is the record that was read last, context what all decoders need.
	raw           ringbuf.Record
	context       record.Context
	packetDecoder packets.Decoder
}

// New creates the maps. It attaches nothing; Start does.
func New(cfg Config, logger *zap.Logger) (*Probe, error) {
	return newOn(hook.NewHost(cfg.ExcludeHooks, nil), cfg, logger)
}

func newOn(host *hook.Host, cfg Config, logger *zap.Logger) (*Probe, error) {
	cfg.RingBytes, cfg.Inspect.RingBytes = ringSize(cfg.RingBytes), ringSize(cfg.Inspect.RingBytes)
	p := &Probe{cfg: cfg, logger: logger, host: host}
	p.packetDecoder.Context = &p.context
	var err error
	if p.context.OwnNetNS, err = netns.Current(); err != nil {
		return nil, err
	}
	if p.maps, err = shared.NewMaps(&p.cfg); err != nil {
		return nil, err
	}
	p.shares = shared.NewShares(p.maps.Maps, shared.CapacitiesOf(&p.cfg), p.context.OwnNetNS)
	if err := p.newSources(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	p.sockets, err = sockets.New(sockets.Options{
		Config: &p.cfg, Host: host, Context: &p.context, Maps: p.maps.Maps, Shares: p.shares, Looks: p.looks, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if err := p.newInspection(); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	if p.reader, err = ringbuf.NewReader(p.maps.Maps["records"]); err != nil {
		return nil, errors.Join(fmt.Errorf("open the ring buffer: %w", err), p.Close())
	}
	return p, nil
}

// ringSize rounds up to a power of two of whole pages, which the kernel insists on.
func ringSize(bytes uint32) uint32 {
	page := uint32(os.Getpagesize())
	if bytes <= page {
		return page
	}
	return 1 << bits.Len32(bytes-1)
}

// Start attaches what can be attached. Then it finds listeners and connections that existed
// before, and reports them to the sink. It fails if no hook attaches and the operator can mend
// that. Otherwise Hooks says what is missing.
func (p *Probe) Start(sink fact.Sink) error {
	if err := p.context.Clock.Refresh(); err != nil {
		return err
	}
	p.context.Sink = sink
	p.sockets.Attach()
	if err := p.startPackets(); err != nil {
		return err
	}
	p.tellAbsentCounts()
	if err := p.anyAttached(); capability.Mendable(err) {
		return err
	}
	err := p.sockets.Scan()
	p.host.Forget()
	if err != nil {
		p.logger.Warn("some listeners and connections that existed before were not found", zap.Error(err))
	}
	return nil
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

// drainCheck is the number of records between two checks of the time.
const drainCheck = 256

// Drain reports records until the given time has passed and the ring buffer is empty. If the
// ring buffer never runs empty, the rest stays for the next call.
func (p *Probe) Drain(until time.Time) error {
	if err := p.context.Clock.Refresh(); err != nil {
		return err
	}
	if err := p.drainBetweenPasses(until); err != nil {
		return err
	}
	return p.sockets.Listeners.FindPorts()
}

// drain reads both ring buffers in turns while something is inspected. The ring buffer of
// records comes first, because segments refer to processes and connections of records.
func (p *Probe) drain(until time.Time) error {
	for p.inspect != nil {
		turn := time.Now().Add(inspectPause)
		if until.Before(turn) {
			turn = until
		}
		if err := p.drainRecords(turn); err != nil {
			return err
		}
		p.inspect.drain()
		if !time.Now().Before(until) {
			return nil
		}
	}
	return p.drainRecords(until)
}

func (p *Probe) drainRecords(until time.Time) error {
	p.reader.SetDeadline(until)
	for n := 1; ; n++ {
		err := p.reader.ReadInto(&p.raw)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("read the ring buffer: %w", err)
		}
		p.decode(p.raw.RawSample)
		// A ring that never runs empty must not keep the caller from its snapshot.
		if n%drainCheck == 0 && time.Now().After(until) {
			return nil
		}
	}
}

// decode gives a record of the ring buffer to the vantage point that it comes from.
func (p *Probe) decode(sample []byte) {
	head := record.View[shared.RecordHead](sample)
	if head == nil {
		p.context.Undecodable(ledger.Connection)
		return
	}
	kind := shared.RecordKind(head.Kind)
	if !p.sockets.Decoder.Decode(kind, sample) && !p.packetDecoder.Decode(kind, sample) {
		p.context.Undecodable(ledger.Connection)
	}
}

// OwnNetNS is the inode number of the network namespace that the probe was made in.
func (p *Probe) OwnNetNS() uint32 { return p.context.OwnNetNS }

// Hooks describes each hook that was asked for.
func (p *Probe) Hooks() []HookState {
	states := append(p.sockets.States(), p.host.MissingMembers(p.cfg.Process)...)
	if p.packets != nil {
		states = append(states, p.packets.Hooks()...)
	}
	return states
}

// Detach removes every program from the kernel. The ring buffer and the maps can still be
// read.
func (p *Probe) Detach() error {
	var err error
	if p.packets != nil {
		err = p.packets.Detach()
	}
	if p.inspect != nil {
		p.inspect.ending = true
	}
	if p.sockets != nil {
		err = errors.Join(err, p.sockets.Detach())
	}
	p.detached = true
	return err
}

// Close frees everything else. It may be called without Start, and twice.
func (p *Probe) Close() error {
	err := p.Detach()
	if p.packets != nil {
		err = errors.Join(err, p.packets.Close())
		p.packets = nil
	}
	if p.inspect != nil {
		err = errors.Join(err, p.inspect.Close())
		p.inspect = nil
	}
	if p.sockets != nil {
		err = errors.Join(err, p.sockets.Close())
		p.sockets = nil
	}
	if p.reader != nil {
		err = errors.Join(err, p.reader.Close())
		p.reader = nil
	}
	if p.sources != nil {
		err = errors.Join(err, p.sources.Close())
	}
	if p.maps != nil {
		p.maps.Close()
		p.maps = nil
	}
	return err
}
