// SPDX-License-Identifier: Apache-2.0

//go:build amd64 || arm64

package listening

import (
	"github.com/ebpftcp/ebpftcpreceiver/internal/connection"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/look"
	"github.com/ebpftcp/ebpftcpreceiver/internal/probe/shared"
)

// namespaceOverflows counts overflows of accept queues where no hook does. It reads the
// counter of each network namespace, in /proc/PID/net/netstat of a process inside.
type namespaceOverflows struct {
	*connection.Overflows
	own uint32
	// limit is how many listeners it keeps.
	limit int
	// owners are the processes of a namespace's listeners, by socket.
	owners map[uint32]map[uint64]uint32
	// netns are the namespaces by socket.
	netns map[uint64]uint32
	// counts are what was read before this pass.
	counts map[uint32]uint64
}

func newNamespaceOverflows(own uint32, limit int, selected bool) *namespaceOverflows {
	o := &namespaceOverflows{
		Overflows: connection.NewOverflows(),
		own:       own,
		limit:     limit,
		owners:    make(map[uint32]map[uint64]uint32),
		netns:     make(map[uint64]uint32),
	}
	o.Selected = selected
	if count, err := o.read(own); err == nil {
		o.Keep(own, count)
	}
	return o
}

// listen begins to count for a listener, unless its namespace holds its share of them.
func (o *namespaceOverflows) listen(r *shared.ListenRecord, wanted bool) {
	_, known := o.netns[r.Sk]
	beyondShare := shared.Followed(r.Followed) == shared.FollowedNotShare
	if !known && (beyondShare || len(o.netns) >= o.limit) {
		o.Hide(r.Head.Netns)
		return
	}
	o.opened(r.Sk, r.Head.Netns, r.Owner.Process.Pid, wanted)
}

// opened begins to count for a listener that a process owns; pid 0 is none.
func (o *namespaceOverflows) opened(socket uint64, netns, pid uint32, wanted bool) {
	if known, ok := o.netns[socket]; ok && known != netns {
		o.ended(socket)
	}
	o.netns[socket] = netns
	if o.owners[netns] == nil {
		o.owners[netns] = make(map[uint64]uint32)
	}
	o.owners[netns][socket] = pid
	if o.Opened(netns, socket, wanted) {
		if count, err := o.read(netns); err == nil {
			o.Begin(netns, count)
		}
	}
}

// ended returns the overflows that were found to be the listener's own.
func (o *namespaceOverflows) ended(socket uint64) uint64 {
	netns, ok := o.netns[socket]
	if !ok {
		return 0
	}
	delete(o.netns, socket)
	delete(o.owners[netns], socket)
	if len(o.owners[netns]) == 0 {
		delete(o.owners, netns)
	}
	return o.Ended(socket)
}

// keepOnly forgets the listeners that were not found: the end of each was missed.
func (o *namespaceOverflows) keepOnly(found map[uint64]bool) {
	if o == nil {
		return
	}
	for socket := range o.netns {
		if !found[socket] {
			o.ended(socket)
		}
	}
}

// beginPass reads the counters, before the pass over the listeners.
func (o *namespaceOverflows) beginPass() {
	if o == nil {
		return
	}
	o.counts = make(map[uint32]uint64)
	for _, netns := range o.Namespaces() {
		if count, err := o.read(netns); err == nil {
			o.counts[netns] = count
		}
	}
}

func (o *namespaceOverflows) look(r *shared.ListenerLook) {
	if o != nil && look.Came(r.Outcome, shared.LookOutcomeRead) {
		o.Look(r.Sk, r.Drops)
	}
}

// endPass returns the overflows of each namespace that belong to no known listener. A
// namespace with a single listener usually has none.
func (o *namespaceOverflows) endPass() []connection.Overflow {
	rests := make([]connection.Overflow, 0, len(o.counts))
	for netns, count := range o.counts {
		if rest, ok := o.Share(netns, count); ok && (rest.N > 0 || len(o.owners[netns]) > 1) {
			rests = append(rests, rest)
		}
	}
	o.EndPass()
	return rests
}

// read reads a namespace's counter.
func (o *namespaceOverflows) read(netns uint32) (uint64, error) {
	data, err := readNamespace(netns, o.own, o.owners[netns])
	if err != nil {
		return 0, err
	}
	return netstatValue(data, "ListenOverflows")
}
