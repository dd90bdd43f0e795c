// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
	"go.uber.org/zap"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// goneConnections remembers, from one snapshot to the next, entries whose socket was
// no longer theirs. Twice in a row means that the hook missed its end; once may be a
// close under way.
type goneConnections map[uint64]bool

// Snapshot reads the kernel's maps and hands every live connection to visit.
func (p *Probe) Snapshot(visit func(*connection.Live)) (*Snapshot, error) {
	if err := p.decoder.clock.Refresh(); err != nil {
		return nil, err
	}
	s := &Snapshot{Time: time.Now().UnixNano()}
	if p.tc != nil {
		p.tc.sweepHalfOpen(p.decoder.handler)
	}
	p.decoder.names.refresh()
	active, err := p.visitLive(visit)
	if err == nil { // what was read in part is no number of entries
		s.Maps = append(s.Maps, MapFill{"connections", active, int(p.cfg.MaxConnections)})
	}
	err = errors.Join(err, p.visitQueues(s), p.readLedger(&s.Ledger), p.readPorts(s), p.shares.Tidy())
	if lost := s.Ledger.Lost[ledger.Listener][ledger.RingFull]; lost != p.lostListeners {
		p.lostListeners = lost
		if err := p.rescanListeners(); err != nil {
			p.logger.Warn("listeners whose records the ring lost were not found again", zap.Error(err))
		}
	}
	s.Ledger.Active = int64(active)
	for _, name := range []string{"port_counters", "listeners", "listening_ports", "half_open_handshakes"} {
		fill, fillErr := mapFill(p.objects.maps.Maps[name], name)
		if fillErr != nil {
			err = errors.Join(err, fillErr)
			continue
		}
		s.Maps = append(s.Maps, fill)
	}
	s.Maps = append(s.Maps, MapFill{"records", p.reader.AvailableBytes(), int(p.cfg.RingBytes)})
	if p.tc != nil {
		s.Interfaces = p.tc.counters()
		s.Namespaces = p.tc.namespaces()
	}
	s.Hooks = p.Hooks()
	return s, err
}

// visitLive looks at all connections. It returns the number of entries.
func (p *Probe) visitLive(visit func(*connection.Live)) (int, error) {
	if p.scans.live.used == nil {
		fill, err := mapFill(p.objects.maps.Maps["connections"], "connections")
		return fill.Entries, err
	}
	active := 0
	gone := make(goneConnections)
	err := p.scans.live.each(func(r *shared.LiveRecord) {
		switch shared.LookOutcome(r.Look.Outcome) {
		case shared.LookOutcomeEnded:
			return
		case shared.LookOutcomeGone:
			if p.gone[r.Connection.Id] && p.forget(r) {
				return
			}
			gone[r.Connection.Id] = true
		}
		active++
		visit(p.decoder.lookedAt(r))
	})
	p.gone = gone
	return active, err
}

// forget deletes an entry whose end was missed, unless it is another's by now.
func (p *Probe) forget(r *shared.LiveRecord) bool {
	connections := p.objects.maps.Maps["connections"]
	var now shared.Connection
	if connections.Lookup(&r.Look.Sk, &now) != nil || now.Id != r.Connection.Id || connections.Delete(&r.Look.Sk) != nil {
		return false
	}
	p.shares.ReportDeleted(now.Netns, shared.RoomConnections)
	p.stale++
	return true
}

// readLedger adds what user space found on the kernel's behalf: entries that are stale, and
// half-open attempts that timed out.
func (p *Probe) readLedger(to *ledger.Kernel) error {
	counted, err := shared.ReadLedger(p.objects.maps.Maps["ledger"])
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
	to.Lost[ledger.Connection][ledger.MapStale] += p.stale
	to.Lost[ledger.Listener][ledger.MapStale] += p.staleListeners
	if p.tc != nil {
		full, share := p.tc.lostHalfOpen()
		to.Produced[ledger.Failed] += p.tc.sweptHalfOpen()
		to.Lost[ledger.Failed][ledger.MapFull] += full
		to.Lost[ledger.Failed][ledger.MapShare] += share
	}
	return nil
}

func (p *Probe) readPorts(s *Snapshot) error {
	counters := p.objects.maps.Maps["port_counters"]
	listen := p.decoder.listeners.namespaces()
	listen[p.decoder.ownNetNS] = true
	var key shared.PortCounterKey
	var ended []shared.PortCounterKey
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	entries := counters.Iterate()
	for entries.Next(&key, &perCPU) {
		// Containers come and go: their namespaces' counters must not fill the map.
		if !listen[key.Netns] {
			ended = append(ended, key)
			continue
		}
		s.Ports = append(s.Ports, p.portCounter(&key, perCPU))
	}
	// An entry inserted or deleted meanwhile may end the iteration early: the rest
	// is read next time, for the values are running totals.
	err := entries.Err()
	for i := range ended {
		if counters.LookupAndDelete(&ended[i], &perCPU) != nil {
			// Before 5.14 in two steps: what is counted between them is lost.
			if counters.Lookup(&ended[i], &perCPU) != nil || counters.Delete(&ended[i]) != nil {
				continue
			}
		}
		p.shares.ReportDeleted(ended[i].Netns, shared.RoomPortCounters)
		final := p.portCounter(&ended[i], perCPU)
		final.Final = true
		s.Ports = append(s.Ports, final)
	}
	if err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return fmt.Errorf("read the port counters: %w", err)
	}
	return nil
}

func (p *Probe) portCounter(key *shared.PortCounterKey, perCPU []uint64) connection.PortCounter {
	counter := connection.PortCounter{
		NetNS: key.Netns,
		Port:  key.Port,
		IPv4:  key.Family == 4,
		What:  connection.PortCount(key.Count),
	}
	switch counter.What {
	case connection.Drops:
		counter.Detail = dropReason(p.objects.host.DropReasons, key.Detail)
	case connection.Failures:
		counter.Detail = connection.Failure(key.Detail).String()
	}
	for _, n := range perCPU {
		counter.Value += n
	}
	return counter
}

// mapFill counts the keys of a hash map; approximate while the kernel writes.
func mapFill(m *ebpf.Map, name string) (MapFill, error) {
	fill := MapFill{Name: name, Capacity: int(m.MaxEntries())}
	key := make([]byte, m.KeySize())
	next := make([]byte, m.KeySize())
	err := m.NextKey(nil, &next)
	for ; err == nil && fill.Entries < fill.Capacity; err = m.NextKey(&key, &next) {
		key, next = next, key
		fill.Entries++
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fill, fmt.Errorf("count the entries of %s: %w", name, err)
	}
	return fill, nil
}
