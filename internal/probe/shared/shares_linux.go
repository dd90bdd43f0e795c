// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package shared

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"github.com/cilium/ebpf"
)

// Capacities are the sizes of the maps that network namespaces share.
type Capacities [Rooms]uint32

// Shares is user space's side of bpf/lib/shares.h. It reports the entries that user space
// deletes, and forgets namespaces that have no entry any more.
type Shares struct {
	totals, pending, namespaces, returns *ebpf.Map
	capacity                             Capacities
	ownNetNS                             uint32

	// mu guards the rest: sweeps of half-open handshakes run in goroutines of their own.
	mu       sync.Mutex
	returned RoomCounts
	// empty are the namespaces that had no entry when last read.
	empty map[uint32]bool
	// err is the first report that failed since the last call of Tidy.
	err error
}

// NewShares keeps the shares of the maps with these capacities. The collector's own namespace
// has no share to exceed.
func NewShares(maps map[string]*ebpf.Map, capacities Capacities, ownNetNS uint32) *Shares {
	return &Shares{
		totals:     maps["rooms_taken"],
		pending:    maps["rooms_pending"],
		namespaces: maps["namespace_rooms"],
		returns:    maps["namespace_returns"],
		capacity:   capacities,
		ownNetNS:   ownNetNS,
		empty:      make(map[uint32]bool),
	}
}

// ReportDeleted reports one entry that user space deleted.
func (s *Shares) ReportDeleted(netns uint32, room Room) { s.report(netns, room, 1) }

// ReportInserted reports one entry that user space inserted.
func (s *Shares) ReportInserted(netns uint32, room Room) { s.report(netns, room, ^uint32(0)) }

// report adds n to what user space has returned; the counts wrap.
func (s *Shares) report(netns uint32, room Room, n uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returned.Entries[room] += n
	at := int64(unsafe.Offsetof(RoomTotals{}.Returned))
	all := unsafe.Slice((*byte)(unsafe.Pointer(&s.returned)), unsafe.Sizeof(s.returned))
	err := WriteAt(s.totals, at, all)
	if err = errors.Join(err, s.reportOf(netns, room, n)); err != nil {
		s.err = errors.Join(s.err, fmt.Errorf("report a deleted entry of network namespace %d: %w", netns, err))
	}
}

// reportOf adds n to what user space has returned of a namespace that the kernel counts.
// The others have no share, and Tidy would never remove their counts.
func (s *Shares) reportOf(netns uint32, room Room, n uint32) error {
	if netns == s.ownNetNS {
		return nil
	}
	var share NamespaceShare
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
func (s *Shares) of(netns uint32) (counts RoomCounts, err error) {
	if err = s.returns.Lookup(netns, &counts); errors.Is(err, ebpf.ErrKeyNotExist) {
		err = nil
	}
	return counts, err
}

// MayTake is has_room() of bpf/lib/shares.h.
func (s *Shares) MayTake(netns uint32, room Room) bool {
	capacity := s.capacity[room]
	var totals RoomTotals
	if netns == s.ownNetNS || s.totals.Lookup(uint32(0), &totals) != nil {
		return true
	}
	if held(totals.Taken, totals.Returned, room) < int32(capacity-capacity/4) {
		return true
	}
	var share NamespaceShare
	if s.namespaces.Lookup(netns, &share) != nil {
		return false
	}
	returned, err := s.of(netns)
	return err == nil && held(share.Taken, returned, room) < int32((capacity+3)/4)
}

func held(taken, returned RoomCounts, room Room) int32 {
	return int32(taken.Entries[room] - returned.Entries[room])
}

// holdsNothing: below 0 is a namespace whose entries were made while namespace_rooms was
// full.
func holdsNothing(taken, returned RoomCounts) bool {
	for room := range Rooms {
		if held(taken, returned, room) > 0 {
			return false
		}
	}
	return true
}

// Tidy forgets namespaces that had no entry twice in a row. It returns the errors since the
// last call.
func (s *Shares) Tidy() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.err
	s.err = nil
	empty := make(map[uint32]bool)
	var netns uint32
	var rooms NamespaceShare
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
		return fmt.Errorf("delete network namespace %d: %w", netns, err)
	}
	return nil
}

// Taken is how many entries of a map all namespaces have.
func (s *Shares) Taken(room Room) int32 {
	var totals RoomTotals
	var pending []RoomCounts
	if s.totals.Lookup(uint32(0), &totals) != nil || s.pending.Lookup(uint32(0), &pending) != nil {
		return 0
	}
	for _, cpu := range pending {
		totals.Taken.Entries[room] += cpu.Entries[room]
	}
	return held(totals.Taken, totals.Returned, room)
}

// pendingShare is the part of the connections that all processors together may keep from the
// total at most: 1/pendingShare.
const pendingShare = 64

// batchOf is the constant room_batch: how many entries each of so many processors may keep
// from the total of a map of this capacity.
func batchOf(capacity uint32, processors int) uint32 {
	const most = 32
	return min(capacity/pendingShare/uint32(max(processors, 1)), most)
}
