// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Snapshot reads the kernel's maps and passes every live connection to visit.
func (p *Probe) Snapshot(visit func(*connection.Live)) (*Snapshot, error) {
	if err := p.context.Clock.Refresh(); err != nil {
		return nil, err
	}
	s := &Snapshot{Time: time.Now().UnixNano(), Absent: p.host.Absent(), HalfOpen: p.cfg.HalfOpen}
	if p.packets != nil {
		p.packets.SweepHalfOpen(p.context.Sink)
	}
	p.context.ForgetNames()
	active, err := p.sockets.Live(visit)
	if err == nil { // what was read in part is no number of entries
		s.Maps = append(s.Maps, MapFill{"connections", active, int(p.cfg.MaxConnections)})
	}
	var queuesErr, portsErr error
	s.Queues, s.Overflows, queuesErr = p.sockets.Listeners.Look()
	ledgerErr := p.readLedger(&s.Ledger)
	s.Ports, portsErr = p.sockets.PortCounters()
	err = errors.Join(err, queuesErr, ledgerErr, portsErr, p.shares.Tidy())
	if p.sockets.Listeners.Outdated(s.Ledger.Lost[ledger.Listener][ledger.RingFull]) {
		if err := p.sockets.RescanListeners(); err != nil {
			p.logger.Warn("listeners whose records the ring buffer lost were not found", zap.Error(err))
		}
	}
	s.Ledger.Active = int64(active)
	err = errors.Join(err, p.addFills(s))
	if p.packets != nil {
		s.Interfaces = p.packets.Counters()
		s.Namespaces = p.packets.Namespaces()
	}
	if p.sources != nil {
		figures, sourcesErr := p.sources.Figures()
		if err = errors.Join(err, sourcesErr); sourcesErr == nil {
			s.Sources = &figures
			s.Maps = append(s.Maps, MapFill{"sources", figures.Tracked, figures.Capacity})
		}
	}
	if p.inspect != nil {
		figures, inspectErr := p.inspect.Figures()
		s.Ledger.Produced[ledger.Segment] += int64(figures.Segments)
		s.Ledger.Lost[ledger.Segment][ledger.RingFull] += int64(figures.Lost)
		s.Maps = append(s.Maps, MapFill{"segments", figures.Waiting, figures.Ring})
		err = errors.Join(err, inspectErr)
		if p.cfg.Inspect.UnderWay {
			p.inspect.table.UnderWay(p.context.Sink.RequestUnderWay)
		}
	}
	s.Hooks = p.Hooks()
	return s, err
}

func (p *Probe) addFills(s *Snapshot) error {
	var all error
	for _, name := range []string{"port_counters", "listeners", "listening_ports", "half_open_handshakes"} {
		m := p.maps.Maps[name]
		entries, err := shared.CountEntries(m)
		if err != nil {
			all = errors.Join(all, fmt.Errorf("count the entries of %s: %w", name, err))
			continue
		}
		s.Maps = append(s.Maps, MapFill{name, entries, int(m.MaxEntries())})
	}
	s.Maps = append(s.Maps, MapFill{"records", p.reader.AvailableBytes(), int(p.cfg.RingBytes)})
	return all
}

// readLedger adds to the kernel's ledger what user space found: stale entries, and half-open
// attempts that timed out.
func (p *Probe) readLedger(to *ledger.Kernel) error {
	counted, err := shared.ReadLedger(p.maps.Maps["ledger"])
	if err != nil {
		return err
	}
	to.Opened, to.Adopted = int64(counted.Opened), int64(counted.Adopted)
	for event, produced := range counted.Produced {
		to.Produced[event] = int64(produced)
		for cause, lost := range counted.Lost[event] {
			to.Lost[event][cause] = int64(lost)
		}
	}
	to.Lost[ledger.Connection][ledger.MapStale] += p.sockets.Stale()
	to.Lost[ledger.Listener][ledger.MapStale] += p.sockets.Listeners.Stale()
	if p.packets != nil {
		full, share := p.packets.LostHalfOpen()
		to.Produced[ledger.Failed] += p.packets.SweptHalfOpen()
		to.Lost[ledger.Failed][ledger.MapFull] += full
		to.Lost[ledger.Failed][ledger.MapShare] += share
	}
	return nil
}
