// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package probe

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// Sizes of maps that the configuration leaves to us.
const (
	defaultListeners    = 16384
	defaultHalfOpen     = 16384
	defaultPortCounters = 8192
)

// tablesPerMap is how many listeners are told apart for each that the kernel's map has
// room for: those that it has no room for are reported, without their queues.
const tablesPerMap = 4

// roomCapacities are the sizes of the maps that network namespaces share, by enum room
// of bpf/lib/records.h.
func roomCapacities(cfg *Config) [shared.Rooms]uint32 {
	either := func(size, otherwise uint32) uint32 {
		if size == 0 {
			return otherwise
		}
		return size
	}
	capacity := [shared.Rooms]uint32{
		shared.RoomConnections:  cfg.MaxConnections,
		shared.RoomListeners:    either(cfg.MaxListeners, defaultListeners),
		shared.RoomHalfOpen:     either(cfg.MaxHalfOpen, defaultHalfOpen),
		shared.RoomPortCounters: either(cfg.MaxPortCounters, defaultPortCounters),
	}
	if !cfg.HalfOpen {
		capacity[shared.RoomHalfOpen] = 1
	}
	return capacity
}

// shares is user space's side of bpf/lib/shares.h: it reports the entries that user space
// deletes, and forgets namespaces that have none any more.
type shares struct {
	totals, namespaces, returns *ebpf.Map
	capacity                    [shared.Rooms]uint32
	ownNetNS                    uint32

	// mu guards the rest: sweeps of half-open handshakes have goroutines of their own.
	mu       sync.Mutex
	returned shared.RoomCounts
	// empty are the namespaces that had no entry when last read.
	empty map[uint32]bool
	// err is the first report that failed since the last call of tidy.
	err error
}

func newShares(cfg *Config, maps map[string]*ebpf.Map) *shares {
	return &shares{
		totals:     maps["rooms_taken"],
		namespaces: maps["namespace_rooms"],
		returns:    maps["namespace_returns"],
		capacity:   roomCapacities(cfg),
		ownNetNS:   cfg.ownNetNS,
		empty:      make(map[uint32]bool),
	}
}

// deleted reports one entry that user space deleted.
func (s *shares) deleted(netns uint32, room shared.Room) { s.report(netns, room, 1) }

// entered reports one that it made.
func (s *shares) entered(netns uint32, room shared.Room) { s.report(netns, room, ^uint32(0)) }

// report adds n to what user space has returned; the counts wrap.
func (s *shares) report(netns uint32, room shared.Room, n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned.Entries[room] += n
	at := int64(unsafe.Offsetof(shared.RoomTotals{}.Returned))
	all := unsafe.Slice((*byte)(unsafe.Pointer(&s.returned)), unsafe.Sizeof(s.returned))
	err := writeTable(s.totals, at, all)
	if err = errors.Join(err, s.reportOf(netns, room, n)); err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("report a deleted entry of namespace %d: %w", netns, err))
	}
}

// reportOf adds n to what user space has returned of a namespace that the kernel counts.
// The others have no share, and tidy would never remove their counts.
func (s *shares) reportOf(netns uint32, room shared.Room, n uint32) error {
	if netns == s.ownNetNS {
		return nil
	}
	var share shared.NamespaceShare
	if err := s.namespaces.Lookup(netns, &share); errors.Is(err, ebpf.ErrKeyNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	counts, err := s.of(netns)
	counts.Entries[room] += n
	return errors.Join(err, s.returns.Put(netns, &counts))
}

// of is what user space has returned of a namespace.
func (s *shares) of(netns uint32) (counts shared.RoomCounts, err error) {
	if err = s.returns.Lookup(netns, &counts); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	return counts, err
}

// mayTake is may_take() of bpf/lib/shares.h.
func (s *shares) mayTake(netns uint32, room shared.Room) bool {
	capacity := s.capacity[room]
	var totals shared.RoomTotals
	if netns == s.ownNetNS || s.totals.Lookup(uint32(0), &totals) != nil {
		return true
	}
	if held(totals.Taken, totals.Returned, room) < int32(capacity-capacity/4) {
		return true
	}
	var share shared.NamespaceShare
	if s.namespaces.Lookup(netns, &share) != nil {
		return false
	}
	returned, err := s.of(netns)
	return err == nil && held(share.Taken, returned, room) < int32((capacity+3)/4)
}

func held(taken, returned shared.RoomCounts, room shared.Room) int32 {
	return int32(taken.Entries[room] - returned.Entries[room])
}

// holdsNothing: below 0 is a namespace whose entries were made while namespace_rooms was
// full.
func holdsNothing(taken, returned shared.RoomCounts) bool {
	for room := range shared.Rooms {
		if held(taken, returned, room) > 0 {
			return false
		}
	}
	return true
}

// tidy forgets namespaces that had no entry twice in a row, and returns what went wrong
// since the last call.
func (s *shares) tidy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	s.err = nil
	empty := make(map[uint32]bool)
	var netns uint32
	var rooms shared.NamespaceShare
	entries := s.namespaces.Iterate()
	for entries.Next(&netns, &rooms) {
		returned, lookup := s.of(netns)
		err = errors.Join(err, lookup)
		if holdsNothing(rooms.Taken, returned) {
			empty[netns] = true
		}
	}
	for netns := range empty {
		if s.empty[netns] {
			delete(empty, netns)
			err = errors.Join(err, remove(s.namespaces, netns), remove(s.returns, netns))
		}
	}
	s.empty = empty
	if iteration := entries.Err(); iteration != nil && !errors.Is(iteration, ebpf.ErrIterationAborted) {
		err = errors.Join(err, iteration)
	}
	if err != nil {
		return fmt.Errorf("keep the shares of network namespaces: %w", err)
	}
	return nil
}

func remove(m *ebpf.Map, netns uint32) error {
	if err := m.Delete(netns); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("forget namespace %d: %w", netns, err)
	}
	return nil
}

// taken is how many entries of a map all namespaces have.
func (s *shares) taken(room shared.Room) int32 {
	var totals shared.RoomTotals
	if s.totals.Lookup(uint32(0), &totals) != nil {
		return 0
	}
	return held(totals.Taken, totals.Returned, room)
}
