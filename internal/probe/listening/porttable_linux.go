// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// portTable is what the packet programs of a network namespace know of its ports. A port that
// listens has a place, where its SYNs count. A lookup by port would cost the programs several
// times as much.
type portTable struct {
	listening *ebpf.Map
	// syns is nil if nobody asks for them.
	syns *ebpf.Map
	// places are those of ports. taken are those in use, tried last the one that was given last.
	places map[uint32]portPlace
	taken  [shared.PortPlaces]bool
	last   shared.PortPlace
	perCPU []uint64
}

// portPlace is where a port's SYNs count. Another port had counted so many there before.
type portPlace struct {
	at     shared.PortPlace
	before uint64
}

func newPortTable(countSYNs bool) (*portTable, error) {
	listening, err := shared.NewPortTable()
	if err != nil {
		return nil, err
	}
	t := &portTable{listening: listening, places: make(map[uint32]portPlace), last: shared.PortPlaceFirst - 1}
	if !countSYNs {
		return t, nil
	}
	if t.syns, err = shared.NewPortSYNs(); err != nil {
		return nil, errors.Join(fmt.Errorf("create the counters of SYNs: %w", err), listening.Close())
	}
	t.perCPU = make([]uint64, ebpf.MustPossibleCPU())
	return t, nil
}

// mark sets whether a port has a listener.
func (t *portTable) mark(port uint32, on bool) error {
	known, ok := t.places[port]
	if !on {
		if ok {
			t.taken[known.at] = false
			delete(t.places, port)
		}
		return shared.PlacePort(t.listening, port, 0)
	}
	if !ok && t.syns != nil {
		known = portPlace{at: t.free()}
		known.before = t.read(known.at)
		t.places[port], t.taken[known.at] = known, true
	}
	return shared.PlacePort(t.listening, port, max(known.at, shared.PortPlaceListens))
}

// free finds a place that has been free for long: a program may still add for the port that had it.
// Without one, it returns PortPlaceListens.
func (t *portTable) free() shared.PortPlace {
	for range shared.PortPlaces - shared.PortPlaceFirst {
		if t.last++; t.last >= shared.PortPlaces {
			t.last = shared.PortPlaceFirst
		}
		if !t.taken[t.last] {
			return t.last
		}
	}
	return shared.PortPlaceListens
}

// read adds up the counter of a place over all CPUs.
func (t *portTable) read(place shared.PortPlace) (sum uint64) {
	if place < shared.PortPlaceFirst || t.syns.Lookup(uint32(place), &t.perCPU) != nil {
		return 0
	}
	for _, n := range t.perCPU {
		sum += n
	}
	return sum
}

func (t *portTable) countedSYNs(port uint32) uint64 {
	known, ok := t.places[port]
	if !ok {
		return 0
	}
	return t.read(known.at) - known.before
}

// bytes is what the kernel charges for it.
func (t *portTable) bytes() (sum uint64, err error) {
	for _, m := range []*ebpf.Map{t.listening, t.syns} {
		if m == nil {
			continue
		}
		info, err := m.Info()
		if err != nil {
			return 0, fmt.Errorf("read the memory of a port table: %w", err)
		}
		bytes, _ := info.Memlock()
		sum += bytes
	}
	return sum, nil
}

func (t *portTable) close() error {
	err := t.listening.Close()
	if t.syns != nil {
		err = errors.Join(err, t.syns.Close())
	}
	return err
}
