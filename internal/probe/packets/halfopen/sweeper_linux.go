// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

// Package halfopen finds attempts to connect that took too long. The packet programs observed
// the beginning of these handshakes, but no end.
package halfopen

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/fact"
	"github.com/ebpftcp/ebpftcpreceiver/internal/flow"
	"github.com/ebpftcp/ebpftcpreceiver/internal/ledger"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/clock"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/settings"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Sweeper finds handshakes that took too long. The kernel has no event for that.
type Sweeper struct {
	handshakes, counters *ebpf.Map
	marks                marks
	timeout              time.Duration
	records              bool
	perSecond            uint32
	shares               *shared.Shares
	ownNetNS             uint32
	// TimedOut gets each attempt that timed out; it may be nil.
	TimedOut func(*shared.HalfOpenKey)

	clock clock.Clock
	last  time.Time
	// produced counts the found attempts, which are not in the kernel's ledger.
	produced int64
}

// New sweeps the maps that vantage points share.
func New(cfg *settings.Config, ownNetNS uint32, maps map[string]*ebpf.Map, shares *shared.Shares) *Sweeper {
	return &Sweeper{
		handshakes: maps["half_open_handshakes"],
		counters:   maps["port_counters"],
		marks:      newMarks(cfg, maps),
		timeout:    cfg.HandshakeTimeout,
		records:    cfg.FailedRecords,
		perSecond:  cfg.FailedPerSecond,
		shares:     shares,
		ownNetNS:   ownNetNS,
		last:       time.Now(),
	}
}

// Produced is the number of attempts found so far. The kernel's ledger does not contain them.
func (s *Sweeper) Produced() int64 { return s.produced }

// Lost is the number of attempts that found no room, in the map or in the share of their
// namespace, and did not end in time.
func (s *Sweeper) Lost() (full, share int64) {
	return s.marks.lost[shared.CauseMapFull], s.marks.lost[shared.CauseMapShare]
}

// Sweep reports and deletes attempts that are older than the timeout.
func (s *Sweeper) Sweep(h fact.Sink, name func(netns, index uint32) string) error {
	if err := s.clock.Refresh(); err != nil {
		return err
	}
	expired, err := s.expired(int64(s.clock.Boot()))
	rate := s.allowance()
	for i := range expired {
		e := &expired[i]
		// Established or reset meanwhile, and reported elsewhere.
		if s.handshakes.Delete(&e.key) != nil {
			continue
		}
		s.shares.ReportDeleted(e.key.Netns, shared.RoomHalfOpen)
		s.count(h, &e.key)
		if s.TimedOut != nil {
			s.TimedOut(&e.key)
		}
		if !s.records {
			continue
		}
		s.produced++
		if cause, ok := rate.take(e.key.Netns); !ok {
			h.FactsLost(ledger.Failed, cause, 1)
			continue
		}
		h.ConnectionFailed(&connection.Failed{
			Flow: flow.Flow{
				Client: addrPort(e.key.Flow.Remote, e.key.Flow.RemotePort),
				Server: addrPort(e.key.Flow.Local, e.key.Flow.LocalPort),
			},
			Time:      s.clock.Unix(e.value.First + uint64(s.timeout)),
			NetNS:     e.key.Netns,
			Interface: name(e.key.Netns, e.value.Ifindex),
			Type:      connection.FailureHandshakeTimeout,
		})
	}
	lost, marksErr := s.marks.lose(&s.clock)
	s.produced += lost
	return errors.Join(err, marksErr)
}

type halfOpenEntry struct {
	key   shared.HalfOpenKey
	value shared.HalfOpen
}

// expired lists the attempts that are too old at a given boot time.
func (s *Sweeper) expired(now int64) ([]halfOpenEntry, error) {
	var expired []halfOpenEntry
	var e halfOpenEntry
	entries := s.handshakes.Iterate()
	for entries.Next(&e.key, &e.value) {
		if now-int64(e.value.First) > s.timeout.Nanoseconds() {
			expired = append(expired, e)
		}
	}
	// The programs delete meanwhile, which can end the iteration early. The next sweep
	// finds the rest.
	if err := entries.Err(); err != nil && !errors.Is(err, ebpf.ErrIterationAborted) {
		return expired, fmt.Errorf("read the half-open handshakes: %w", err)
	}
	return expired, nil
}

// allowance is the number of records that the rate allows since the last sweep.
func (s *Sweeper) allowance() *allowance {
	now := time.Now()
	elapsed := now.Sub(s.last)
	s.last = now
	return &allowance{
		own:   s.ownNetNS,
		limit: int(float64(s.perSecond) * max(elapsed.Seconds(), 1)),
		taken: make(map[uint32]int),
	}
}

// allowance has the records of one sweep. Network namespaces share them like those of a
// second: see bpf/lib/failed.h.
type allowance struct {
	own        uint32
	limit, all int
	taken      map[uint32]int
}

// take takes a record for a namespace, or returns why the namespace gets none.
func (a *allowance) take(netns uint32) (ledger.Cause, bool) {
	switch {
	case a.all >= a.limit:
		return ledger.RateLimited, false
	case netns != a.own && a.all >= a.limit-a.limit/4 && a.taken[netns] >= (a.limit+3)/4:
		return ledger.RateShare, false
	}
	a.all++
	a.taken[netns]++
	return 0, true
}

// count adds to the counter of the port. No program writes entries with this failure, so
// reading and writing back loses no increment.
func (s *Sweeper) count(h fact.Sink, key *shared.HalfOpenKey) {
	counter := shared.PortCounterKey{
		Netns:  key.Netns,
		Detail: uint32(connection.FailureHandshakeTimeout),
		Port:   key.Flow.LocalPort,
		Family: 6,
		Count:  uint8(shared.PortCountFailed),
	}
	if netip.AddrFrom16(key.Flow.Local).Is4In6() {
		counter.Family = 4
	}
	perCPU := make([]uint64, ebpf.MustPossibleCPU())
	err := s.counters.Lookup(&counter, &perCPU)
	added := errors.Is(err, ebpf.ErrKeyNotExist)
	if added && !s.shares.MayTake(key.Netns, shared.RoomPortCounters) {
		h.FactsLost(ledger.PortCount, ledger.MapShare, 1)
		return
	}
	perCPU[0]++
	if (err != nil && !added) || s.counters.Put(&counter, perCPU) != nil {
		h.FactsLost(ledger.PortCount, ledger.MapFull, 1)
		return
	}
	if added {
		s.shares.ReportInserted(key.Netns, shared.RoomPortCounters)
	}
}

func addrPort(address [16]byte, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(address).Unmap(), port)
}
